"""The schema: every key, its type, its bounds and its meaning. Values live in `conf/`, never here.

Two kinds of node. Plain ones (`trainer`, `data`, ...) are the dataclasses below. Those with a `_target_`
(`model`, `loss`, ...) are held to the arguments of the function they name, so that a key has one home.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from lamella.config.key import ALLOWABLE, Key, Texts

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Plugins = Annotated[
    list[str], Key("modules or .py files of yours that a `_target_` may name; on the command line alone")
]


@dataclass(frozen=True)
class Target:
    """A function by name, and the arguments it is to be called with. `lamella.config.check` makes it.

    Attributes:
        home: of the kind of node: the package whose functions may be named.
        plugins: of the kind: whether a user's own function may be named, too.
        positional: of the kind: how many arguments Lamella gives in front of the node's.
        offered: of the kind: what Lamella gives by name to a function that takes it.
        needed: of the kind: what a user's own function must take.
        target: what `_target_` says, a package and a name in it.
        arguments: those of the function that are keys, each held to its annotation. A `Target` among them, as the
            parts of a sum of losses are, stands for what its function returns.
        function: what `target` names.
    """

    home: ClassVar[str] = ""
    plugins: ClassVar[bool] = True
    positional: ClassVar[int] = 0
    offered: ClassVar[tuple[str, ...]] = ()
    needed: ClassVar[tuple[str, ...]] = ()

    target: str
    arguments: dict[str, Any]
    function: Callable[..., Any] = field(compare=False, repr=False, kw_only=True)


class SplitTarget(Target):
    """`dataset.split`: samples -> a `Split`."""

    home = "lamella.splits"
    positional = 1


class LossTarget(Target):
    """`loss`: a `Loss`."""

    home = "lamella.losses"


class OptimizerTarget(Target):
    """`optimizer`: parameters -> an optimizer."""

    home = "lamella.training"
    positional = 1


class SchedulerTarget(Target):
    """`scheduler`: an optimizer, and `steps`, how many there will be -> a learning-rate schedule."""

    home = "lamella.training"
    positional = 1
    offered = ("steps",)


class AugmentTarget(Target):
    """`augment`: an `Augmentation`."""

    home = "lamella.data"
    plugins = False


class InferenceTarget(Target):
    """`inference`: an `Inference`."""

    home = "lamella.inference"
    plugins = False


class CallbackTarget(Target):
    """One of `trainer.callbacks`: a callback of Lightning's."""


@dataclass(frozen=True)
class DatasetKeys(Target):
    """`dataset`: where images and masks come from. These keys every data set has, beside its function's arguments."""

    home = "lamella.data"

    name: Annotated[str, Key("short name; also the default MLflow experiment")]
    in_channels: Annotated[int | None, Key("channels of every image; null: found in the data", least=1)]
    num_classes: Annotated[int | None, Key("classes, background included; null: found in the data", least=2, most=255)]
    scale: Annotated[float, Key("train at this times the stored size; scores stay at full size", above=0, most=1)]
    offset: Annotated[list[float], Key("labels lie this many pixels (down, right) of what they outline", length=2)]
    percentiles: Annotated[
        list[float] | None,
        Key("stretch each image from these of its levels; null: as stored", least=0, most=100, length=2),
    ]
    allow: Annotated[list[str], Key("faults the audit may find without stopping anything", choices=ALLOWABLE)]
    split: SplitTarget
    corrected: Annotated[
        Any, Key("folder of predictions, or a list of them, whose masks you corrected: these train, too", path=True)
    ] = field(default=None, kw_only=True)
    take: Annotated[float, Key("share of the training images that trains, groups whole; nested", above=0, most=1)] = (
        field(default=1.0, kw_only=True)
    )
    accepted: Annotated[
        Any, Key("predictions there that are right as they are: [NAME,NAME], or all; these train, too")
    ] = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ModelKeys(Target):
    """`model`: the network or method. These keys every model has, beside its function's arguments."""

    home = "lamella.models"
    needed = ("in_channels", "num_classes")

    name: Annotated[str, Key("short name, for tables and run names")]
    init_from: Annotated[
        str | None, Key("start from this run, checkpoint or state dict; null: from scratch", path=True)
    ]
    init_part: Annotated[Literal["whole", "encoder"], Key("what of it")]


@dataclass(frozen=True)
class DataKeys:
    """`data`: how training crops are drawn."""

    crop: Annotated[int, Key("side of a training crop in pixels of the scaled image", least=16)]
    batch_size: Annotated[int, Key("crops a step", least=1)]
    steps: Annotated[int, Key("steps an epoch", least=1)]
    context: Annotated[int, Key("pixels beyond the picture that the network sees as its frame", least=0)]
    workers: Annotated[
        int | None, Key("processes that cut crops; 0: between steps; null: by the processors at hand", least=0)
    ]


@dataclass(frozen=True)
class TrainerKeys:
    """`trainer`: where and how long training runs."""

    accelerator: Annotated[Accelerator, Key("auto: a GPU where one works")]
    precision: Annotated[Precision, Key("auto: bfloat16 where the hardware has it")]
    max_epochs: Annotated[int, Key("epochs at most", least=1)]
    minutes: Annotated[
        float | None,
        Key("or as many epochs as fit into these minutes, counted when a run starts; null: max_epochs", above=0),
    ]
    patience: Annotated[int | None, Key("epochs without a better val/dice before stopping; null: never", least=1)]
    gradient_clip: Annotated[float, Key("largest norm of the gradient; 0: no clipping", least=0)]
    ema: Annotated[float, Key("decay a step of the averaged weights that are scored; 0: none", least=0, most=0.99999)]
    deterministic: Annotated[bool, Key("only algorithms that repeat exactly; slower on a GPU")]
    progress: Annotated[bool, Key("show progress on the terminal")]
    callbacks: Annotated[dict[str, CallbackTarget], Key("callbacks of Lightning's, by names of your own")]


@dataclass(frozen=True)
class StoreKeys:
    """`tracking`, for commands that read finished runs: where runs are kept."""

    uri: Annotated[str, Key("MLflow tracking store: sqlite:////absolute/path.db or http://server", path=True)]


@dataclass(frozen=True)
class TrackingKeys(StoreKeys):
    """`tracking`, for training: where a run is kept, under which names, with how many pictures."""

    artifacts: Annotated[
        str | None, Key("folder of a local store's files; null: where the experiment has them", path=True)
    ]
    experiment: Annotated[str, Key("MLflow experiment")]
    run_name: Annotated[str, Key("name of the run")]
    register: Annotated[str | None, Key("registered model that the run becomes a version of; null: none")]
    offline: Annotated[bool, Key("keep the run on disk alone; `sync` sends it")]
    keep_last: Annotated[bool, Key("keep the last checkpoint of a finished run, with the optimizer's state, too")]
    figures: Annotated[int, Key("test images shown as figures", least=0)]


@dataclass(frozen=True)
class MeasureKeys:
    """`score`, for masks whoever made them: what is measured on whole images."""

    tolerance: Annotated[float, Key("pixels two outlines may lie apart and still be one (surface Dice)", least=0)]
    tolerance_nm: Annotated[float, Key("the same in nanometres, where a pixel's size is known", least=0)]
    min_cell_size: Annotated[int, Key("regions of fewer pixels are no cell", least=1)]
    split_neck: Annotated[float, Key("pixels a region is narrower in between where two cells touch", above=0)]
    failure: Annotated[
        float, Key("images with a lower Dice are counted as failures; changes no score", least=0, most=1)
    ]
    resized: Annotated[
        int | None, Key("also score soft predictions resized to this square, as some papers do; null: no", least=16)
    ]


@dataclass(frozen=True)
class ScoreKeys(MeasureKeys):
    """`score`, for training: what is measured on whole images, and which of them."""

    choose_threshold: Annotated[
        bool, Key("take the threshold that is best on the validation images, not inference.threshold (two classes)")
    ]
    seen: Annotated[bool, Key("also score the training images, logged under seen/")]


@dataclass(frozen=True)
class PathsKeys:
    """`paths`: folders. What a user types is relative to where they stand; see `config/paths.py` for defaults."""

    data: Annotated[str, Key("holds em/ and blood/", path=True)]
    cache: Annotated[str, Key("decoded images and phantoms", path=True)]
    output: Annotated[str, Key("one folder a run: log and working files", path=True)]


@dataclass(frozen=True)
class Config:
    """All keys of `train`: what one experiment needs."""

    dataset: DatasetKeys
    model: ModelKeys
    loss: LossTarget
    optimizer: OptimizerTarget
    scheduler: SchedulerTarget
    augment: AugmentTarget
    inference: InferenceTarget
    data: DataKeys
    trainer: TrainerKeys
    tracking: TrackingKeys
    score: ScoreKeys
    paths: PathsKeys
    seed: Annotated[int, Key("decides weights, crops and augmentation", least=0, most=2**32 - 1)]
    resume: Annotated[str | None, Key("an interrupted run that is gone on with, or a finished one with more epochs")]
    fresh: Annotated[bool, Key("of a sweep: run every job anew, also those that are finished")]
    retry_failed: Annotated[bool, Key("of a sweep: run those jobs again that failed")]
    fail_fast: Annotated[bool, Key("of a sweep: begin no other job after one failed")]
    literature: Annotated[dict[str, Any] | None, Key("what a comparison shows beside: dataset, scores by model, notes")]
    plugins: Plugins
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class PrepareData:
    """All keys of `prepare_data`, which fetches and audits a data set."""

    dataset: DatasetKeys
    archive: Annotated[str | None, Key("an archive on disk; null: fetch it from where it was published", path=True)]
    url: Annotated[str | None, Key("fetch the archive from this address (a mirror); null: the published one")]
    sha256: Annotated[str | None, Key("what the archive's SHA-256 must be; null: it is only said")]
    partial: Annotated[bool, Key("a part of the published data set is enough")]
    audit: Annotated[bool, Key("look into every image and mask, too")]
    html: Annotated[str, Key("where the audit's page goes", path=True)]
    timeout: Annotated[float, Key("seconds without a byte after which a connection is broken", above=0, most=3600)]
    retries: Annotated[int, Key("how often to try again without getting any further", least=0, most=100)]
    plugins: Plugins
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class TiffToPng:
    """All keys of `tiff_to_png`, which turns TIFF into PNG."""

    input: Annotated[str, Key("a TIFF file, a folder of them, or a glob in quotes", path=True)]
    output: Annotated[str, Key("folder for the PNG files; made where it is missing", path=True)]
    axes: Annotated[str | None, Key("axes of files that do not say themselves, such as ZYX or CYX")]
    eight_bit: Annotated[bool, Key("scale to 8 bits by range or percentiles; false: 16 bits stay 16 bits")]
    range: Annotated[Any, Key("levels that become 0 and 255: [low,high], or minmax of each file; null: none")]
    percentiles: Annotated[
        list[float] | None, Key("the same, as percentiles of each file; null: none", least=0, most=100, length=2)
    ]
    overwrite: Annotated[bool, Key("replace files that are there")]
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Evaluate:
    """All keys of `evaluate`, which scores a finished run again."""

    run: Annotated[str, Key("the MLflow run whose best checkpoint is scored")]
    dataset: DatasetKeys | None
    part: Annotated[Literal["test", "all"], Key("the images that are scored: the test's, or all of them")]
    accelerator: Annotated[Accelerator | None, Key("null: as the run")]
    precision: Annotated[Precision | None, Key("null: as the run")]
    plugins: Plugins
    trust: Annotated[list[str], Key("the same, for what the run's checkpoint names; on the command line alone")]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class MasksTrackingKeys(StoreKeys):
    """`tracking`, for masks that were made elsewhere: where their run is kept."""

    artifacts: Annotated[
        str | None, Key("folder of a local store's files; null: where the experiment has them", path=True)
    ]
    experiment: Annotated[str | None, Key("MLflow experiment; null: that of `run`, or the data set's name")]
    figures: Annotated[int, Key("test images shown as figures", least=0)]


@dataclass(frozen=True)
class Score:
    """All keys of `score`, which scores masks that were made elsewhere."""

    masks: Annotated[str, Key("folder of masks for the test images, named as these; or one stack", path=True)]
    masks_suffix: Annotated[str, Key("what the stems of masks end in: _cp_masks where a.tif has a_cp_masks.png")]
    name: Annotated[str, Key("of what made the masks: the model's name in every table")]
    instances: Annotated[bool | None, Key("each value is one object; false: a class; null: as is plain")]
    classes: Annotated[dict[Any, Any] | None, Key("{name: mask value or colour, ...} of the masks; null: as is plain")]
    run: Annotated[str | None, Key("a finished run whose dataset, split and score.* are taken; instead of `dataset`")]
    dataset: DatasetKeys | None
    score: MeasureKeys
    plugins: Plugins
    tracking: MasksTrackingKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Compare:
    """All keys of `compare`, which compares finished runs."""

    experiment: Annotated[Texts, Key("the MLflow experiment whose runs are compared, or several: [a,b]")]
    runs: Annotated[list[str] | None, Key("or these runs, by their ids")]
    filter: Annotated[str | None, Key("only runs that MLflow's filter language says; null: all")]
    metric: Annotated[str, Key("the score of scores/test.csv that methods are compared by")]
    margin: Annotated[
        float | None, Key("a difference up to it counts as equality, in units of the score; null: not tested", above=0)
    ]
    leader: Annotated[bool, Key("only ask whether the best method is better than all others; finds smaller leads")]
    failure: Annotated[
        float | None, Key("Dice below which an image failed; null: the runs' score.failure", least=0, most=1)
    ]
    cases: Annotated[int, Key("worst, typical, best and most disputed images shown, each", least=0)]
    output: Annotated[str, Key("folder of the reports", path=True)]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Review:
    """All keys of `review`, which finds labels to look at again."""

    experiment: Annotated[str | None, Key("the MLflow experiment whose runs judge the labels of their test images")]
    runs: Annotated[list[str] | None, Key("or these runs, by their ids: one a fold")]
    filter: Annotated[str | None, Key("only runs that MLflow's filter language says; null: all")]
    tolerance: Annotated[float, Key("pixels from a label's outline up to which nothing is a fault", least=0)]
    cases: Annotated[int, Key("objects shown with pictures, the most doubtful first", least=1, most=1000)]
    plugins: Plugins
    trust: Annotated[list[str], Key("the same, for what the runs' checkpoints name; on the command line alone")]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class TrainedKeys:
    """Which trained networks a command takes: one of `run`, `runs`, `checkpoint` and `model` is set."""

    run: Annotated[str | None, Key("a finished MLflow run, whose best checkpoint is taken")]
    runs: Annotated[list[str] | None, Key("or several, an ensemble: their probabilities are averaged")]
    checkpoint: Annotated[str | None, Key("or a checkpoint's file", path=True)]
    model: Annotated[str | None, Key("or a registered model: NAME, NAME@ALIAS or NAME/VERSION")]
    plugins: Plugins
    trust: Annotated[list[str], Key("the same, for what checkpoints name; on the command line alone")]
    accelerator: Annotated[Accelerator, Key("auto: a GPU where one works, else the CPU")]
    precision: Annotated[Precision | None, Key("null: as the run's test")]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Predict(TrainedKeys):
    """All keys of `predict`, which segments new images."""

    input: Annotated[str, Key("an image, a stack, a folder of them, or a glob in quotes", path=True)]
    output: Annotated[str, Key("folder for what is found; made where it is missing", path=True)]
    axes: Annotated[str | None, Key("axes of files that do not say themselves, such as ZYX or YXC")]
    spacing_nm: Annotated[
        list[float] | None,
        Key("size of a pixel (height, width), where files do not tell it or tell it wrongly", above=0, length=2),
    ]
    probability: Annotated[bool, Key("write NAME_probability.tif, too")]
    uncertainty: Annotated[bool, Key("write NAME_uncertainty.tif, too: how far views (tta=true) or runs differ")]
    geojson: Annotated[bool, Key("write NAME.geojson, too: outlines for QuPath")]
    rois: Annotated[bool, Key("write NAME_rois.zip, too: outlines for Fiji")]
    challenge: Annotated[bool, Key("write NAME_challenge.tif, too: what the ISBI-2012 challenge takes")]
    tta: Annotated[bool | None, Key("average over the eight flips and quarter turns; null: as the run's test")]
    tile: Annotated[
        int | None, Key("largest side predicted in one piece, see inference.tile; null: the run's", least=32)
    ]
    overlap: Annotated[int | None, Key("pixels that tiles share, see inference.overlap; null: the run's", least=0)]
    overwrite: Annotated[
        bool, Key("predict again what is there, but for files that were edited; false: what is finished is kept")
    ]


@dataclass(frozen=True)
class Export(TrainedKeys):
    """All keys of `export`, which writes a trained network for other programs."""

    output: Annotated[str, Key("NAME.onnx, NAME.pt2 (torch.export) or NAME.zip (bioimage.io)", path=True)]
    overwrite: Annotated[bool, Key("replace a file that is there")]
    authors: Annotated[list[str] | None, Key("of a bioimage.io package; null: it names none")]
    license: Annotated[str | None, Key("of a bioimage.io package, such as CC-BY-4.0; null: it names none")]
    cite: Annotated[str | None, Key("what to cite for a bioimage.io package: a DOI or an address; null: nothing")]


@dataclass(frozen=True)
class Look(TrainedKeys):
    """All keys of `look`, which serves a page to try a trained network on."""

    port: Annotated[int | None, Key("of the page on 127.0.0.1; null: a free one", least=1, most=65535)]
    upload_mb: Annotated[int, Key("largest image that is taken, in MB", least=1, most=10_000)]


@dataclass(frozen=True)
class Reproduce:
    """All keys of `reproduce`, which runs a finished run again and says whether it came out the same."""

    run: Annotated[str, Key("the finished MLflow run that is run again")]
    accelerator: Annotated[Accelerator | None, Key("null: as the run")]
    tolerance: Annotated[
        float | None,
        Key("largest difference of a score that counts as the same; null: 0 on the CPU, 0.005 on a GPU", least=0),
    ]
    plugins: Plugins
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Sync:
    """All keys of `sync`, which sends to the store what could not be sent while it was away."""

    run: Annotated[str | None, Key("only this run; null: all that wait below paths.output")]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


@dataclass(frozen=True)
class Tidy:
    """All keys of `tidy`, which says what runs take on disk and removes what dead ones left."""

    remove: Annotated[bool, Key("remove the leftovers that are listed; false: only list them")]
    tracking: StoreKeys
    paths: PathsKeys
    debug: Annotated[bool, Key("show tracebacks")]


SCHEMAS: dict[str, type] = {
    "train": Config,
    "evaluate": Evaluate,
    "score": Score,
    "compare": Compare,
    "review": Review,
    "predict": Predict,
    "export": Export,
    "look": Look,
    "reproduce": Reproduce,
    "sync": Sync,
    "tidy": Tidy,
    "prepare_data": PrepareData,
    "tiff_to_png": TiffToPng,
}
"""Commands, by the names of their files in `conf/`, and what each must be given."""
