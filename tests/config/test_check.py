"""The real files of conf/, composed by Hydra and held to the schema: what is right passes, nothing else does."""

import dataclasses
import itertools
import typing
from pathlib import Path

import hydra
import pytest
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from lamella.cli import main as cli
from lamella.config.check import build, check, flat, kept, plain, settle
from lamella.config.key import Key
from lamella.config.paths import CHECKOUT, CONF
from lamella.config.schema import SCHEMAS, Config, LossTarget, ModelKeys, Target
from lamella.config.words import meanings
from lamella.data.loaders.augment import Augmentation
from lamella.errors import ConfigError, DataError
from lamella.inference import Inference
from lamella.splits import blocks

CHOICES = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    cli.register()


def compose(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", list(overrides))


def checked(*overrides: str) -> Config:
    return check(compose(*overrides))


def refusal(*overrides: str) -> str:
    """The message for overrides that compose but that `check` refuses."""
    with pytest.raises(ConfigError) as caught:
        checked(*overrides)
    assert "\n" not in caught.value.problem
    return str(caught.value)


# What is there


def test_conf_has_the_groups_a_user_may_rely_on() -> None:
    groups = {group for group, _ in CHOICES}
    assert {"dataset", "model", "loss", "optimizer", "scheduler", "augment", "trainer", "tracking"} <= groups
    names = {f"{group}={choice}" for group, choice in CHOICES}
    assert {"dataset=em", "dataset=blood", "dataset=phantom_em", "dataset=phantom_blood"} <= names
    assert {"model=ternausnet", "model=unet", "trainer=auto", "trainer=cpu", "trainer=gpu", "trainer=debug"} <= names


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_passes(group: str, choice: str) -> None:
    extra = ["tracking.uri=http://localhost:5000"] if (group, choice) == ("tracking", "server") else []
    cfg = checked(f"{group}={choice}", *extra)
    for node in ("dataset", "model", "loss", "optimizer", "scheduler", "augment", "inference"):
        assert get_object(getattr(cfg, node).target).__module__.startswith("lamella.")


DATASETS = [choice for group, choice in CHOICES if group == "dataset"]
MODELS = [choice for group, choice in CHOICES if group == "model"]


@pytest.mark.parametrize(
    ("dataset", "model"), [*zip(itertools.cycle(DATASETS), MODELS), *((dataset, "ternausnet") for dataset in DATASETS)]
)
def test_datasets_go_with_models(dataset: str, model: str) -> None:
    cfg = checked(f"dataset={dataset}", f"model={model}")
    assert cfg.model.arguments["in_channels"] == (
        cfg.dataset.in_channels or 1
    )  # 1 stands in for what the data will say
    assert cfg.tracking.experiment == cfg.dataset.name == dataset


def test_defaults_are_those_promised() -> None:
    cfg = checked()
    assert (cfg.dataset.name, cfg.model.name, cfg.model.arguments["encoder_weights"]) == (
        "phantom_blood",
        "ternausnet",
        None,
    )
    assert cfg.tracking.uri == f"sqlite:///{CHECKOUT}/mlflow/lamella.db"


@pytest.mark.parametrize("home", [None, "elsewhere"])
def test_default_paths_lie_in_one_place_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAMELLA_DATA", raising=False)
    if home:
        monkeypatch.setenv("LAMELLA_HOME", home)
    cfg = checked("dataset=em")
    artifacts, root = cfg.tracking.artifacts or "", cfg.dataset.arguments["root"]
    for path in (cfg.paths.data, cfg.paths.cache, cfg.paths.output, artifacts, root):
        assert Path(path).is_relative_to(tmp_path / home if home else CHECKOUT)
    assert cfg.tracking.uri == f"sqlite:///{tmp_path / home if home else CHECKOUT}/mlflow/lamella.db"


def test_lamella_data_is_relative_to_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMELLA_DATA", "here, and there")
    assert checked("dataset=em").dataset.arguments["root"] == f"{tmp_path}/here, and there/em"


def test_interpolations_are_resolved() -> None:
    cfg = checked("dataset=em", "seed=5", "model=unet", "tracking.run_name=${model.name}-${dataset.split.test}")
    assert cfg.model.arguments["in_channels"] == 1
    assert cfg.tracking.run_name == "unet-6"


def test_seed_0_and_null_are_values() -> None:
    cfg = checked("seed=0", "trainer.patience=null", "trainer.gradient_clip=0")
    assert cfg.seed == 0
    assert cfg.trainer.patience is None
    assert cfg.trainer.gradient_clip == 0.0


def test_values_take_the_type_of_their_key() -> None:
    cfg = checked("optimizer.lr=1", "tracking.run_name=5", "model=unet", "model.decoder_channels=[16,8]")
    assert isinstance(cfg.optimizer.arguments["lr"], float)
    assert cfg.tracking.run_name == "5"
    assert cfg.model.arguments["decoder_channels"] == [16, 8]


def test_what_is_checked_passes_again() -> None:
    cfg = checked("dataset=em")
    assert check(OmegaConf.create(plain(cfg))) == cfg


# What is refused, from the command line


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        (["+extra=1"], "'extra'", "Allowed: augment, data,"),
        (["+trainer.extra=1"], "'trainer.extra'", "max_epochs"),
        (["+trainer.max_epoch=1"], "'trainer.max_epoch'", "Did you mean max_epochs?"),
        (["+model.extra=1"], "'model.extra'", "encoder_weights"),
        (["+optimizer.lrr=1"], "'optimizer.lrr'", "Did you mean lr? Allowed: lr, weight_decay."),
        (["+dataset.split.vall=1"], "'dataset.split.vall'", "val_fraction"),
        (["+dataset.roots=x", "dataset=em"], "'dataset.roots'", "Did you mean root?"),
        (["tracking=server"], "tracking.uri", "has no value"),
        (["~model.encoder"], "model.encoder", "has no value"),
        (["~model"], "model", "has no value"),
        (["optimizer.lr=abc"], "optimizer.lr", "must be a number, above 0; got 'abc'"),
        (["optimizer.lr=0"], "optimizer.lr", "must be a number, above 0; got 0"),
        (["optimizer.lr=nan"], "optimizer.lr", "above 0; got nan"),
        (["optimizer.lr=inf"], "optimizer.lr", "above 0; got inf"),
        (["optimizer.lr=null"], "optimizer.lr", "above 0; got None"),
        (["optimizer.lr=true"], "optimizer.lr", "above 0; got True"),
        (["optimizer.lr={a: 1}"], "optimizer.lr", "above 0; got {'a': 1}"),
        (["trainer.gradient_clip=nan"], "trainer.gradient_clip", "must be a number, at least 0; got nan"),
        (["trainer.ema=1"], "trainer.ema", "at most 0.99999; got 1.0"),
        (["trainer.accelerator=cuda"], "trainer.accelerator", "must be one of auto, cpu, gpu; got 'cuda'"),
        (["data.crop=8"], "data.crop", "must be a whole number, at least 16; got 8"),
        (["seed=4294967296"], "seed", "at least 0 and at most 4294967295; got 4294967296"),
        (["dataset.train=2.5"], "dataset.train", "must be a whole number, at least 2; got 2.5"),
        (["dataset.train=true"], "dataset.train", "must be a whole number, at least 2; got True"),
        (["dataset.train=[4]"], "dataset.train", "must be a whole number"),
        (["dataset.split=3"], "dataset.split", "must be a group of keys; got 3"),
        (["augment.flip=perhaps"], "augment.flip", "must be true or false; got 'perhaps'"),
        (["inference.threshold=1"], "inference.threshold", "at most 0.999; got 1"),
        (["model=unet", "model.decoder_channels=3"], "model.decoder_channels", "must be a list of whole numbers"),
        (["model=unet", "model.decoder_channels=[3,x]"], "model.decoder_channels", "must be a list of whole numbers"),
        (["model=unet", "model.decoder_channels=[3,0]"], "model.decoder_channels", "at least 1; got [3, 0]"),
        (["model.encoder=null"], "model.encoder", "got None"),
        (["model.encoder=vgg12"], "model.encoder", "got 'vgg12'"),
        (["paths.output=${nosuch.key}"], "paths.output", "nosuch.key"),
    ],
)  # fmt: skip
def test_check_refuses(overrides: list[str], key: str, says: str) -> None:
    message = refusal(*overrides)
    assert key in message
    assert says in message


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.nn.Identity",
        "lamella.losses.torch.compile",  # imported by a module of ours, but not ours
        "lamella.splits.Path",
        "lamella.cli.main.signal.raise_signal",
        "lamella.tracking.start",  # ours, but no loss and no split
        "lamella.models.unet",
        "lamella.losses.nosuch",
        "lamella.splits.nosuch",
        "lamella.nosuch.function",
        "lamella.losses",
        "null",
        "3",
        "{a: 1}",
    ],
)
@pytest.mark.parametrize("node", ["loss", "dataset.split"])
def test_targets_are_our_own_functions(node: str, target: str) -> None:
    assert refusal(f"{node}._target_={target}").startswith(f"{node}._target_")


def test_a_node_without_a_target_is_refused() -> None:
    assert refusal("~loss._target_").startswith("loss._target_")


def test_another_function_brings_its_own_keys() -> None:
    message = refusal("loss._target_=lamella.losses.tversky")
    assert "'loss.bce_weight'" in message
    assert "Allowed: alpha, beta." in message


def test_a_whole_node_replaced_by_a_scalar_is_refused() -> None:
    cfg = compose()
    OmegaConf.set_struct(cfg, False)
    bare = OmegaConf.create({**OmegaConf.to_container(cfg, resolve=True), "trainer": 3})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"^trainer must be a group of keys; got 3"):
        check(bare)


# The pieces


def test_flat_gives_one_level_of_dotted_keys() -> None:
    cfg = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}, "h": Target("name", {"i": 1}, function=dict)}
    flattened = {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None, "g": {}, "h._target_": "name", "h.i": 1}
    assert flat(cfg) == flattened


def test_flat_keeps_every_value_of_the_real_configuration() -> None:
    cfg = checked("dataset=em")
    values = flat(cfg)
    assert values["dataset.split.test"] == 6
    assert values["seed"] == 0
    for key, value in values.items():
        assert OmegaConf.select(OmegaConf.create(plain(cfg)), key) == value


def test_build_calls_the_target_with_its_own_keys_only() -> None:
    cfg = checked("dataset=em", "augment=em", "augment.noise=3")
    assert build(cfg.augment) == Augmentation(**cfg.augment.arguments)
    assert build(cfg.inference) == Inference(tile=1024, overlap=None, tta=True, threshold=0.5)
    loss = build(cfg.loss)
    assert callable(loss)


def test_build_passes_positional_arguments_and_plain_lists() -> None:
    cfg = checked("dataset=em", "model=unet", "model.decoder_channels=[16,8]")
    network = build(cfg.model)  # a ListConfig would fail inside SMP
    assert sum(p.numel() for p in network.parameters()) > 0
    with pytest.raises(DataError, match="0 section"):
        build(cfg.dataset.split, [])
    assert get_object(cfg.dataset.split.target) is blocks


def test_a_foreign_target_as_a_checkpoint_may_hold_is_refused() -> None:
    for node in ({"_target_": "os.system"}, {"_target_": 3}, {}, "os.system", None):
        with pytest.raises(ConfigError):
            kept(node, ModelKeys)
    with pytest.raises(ConfigError, match=r"must name a function of lamella\.losses, got 'lamella\.models\.unet'"):
        kept({"_target_": "lamella.models.unet"}, LossTarget)


def test_every_argument_a_user_can_set_says_what_it_means() -> None:
    for group, choice in CHOICES:
        node = OmegaConf.load(CONF / group / f"{choice}.yaml")
        if "_target_" not in node:
            continue
        function = get_object(node["_target_"])
        hints = typing.get_type_hints(function, include_extras=True)
        for name in {str(key) for key in node} & {*hints}:
            assert any(isinstance(part, Key) and part.meaning for part in getattr(hints[name], "__metadata__", ())), (
                f"{node['_target_']}: {name}"
            )


def test_a_plain_configuration_is_taken_as_it_is() -> None:
    """What a file of somebody else's holds: no interpolation in it is resolved, and none is taken for a number."""
    text = plain(checked())
    text["tracking"]["run_name"] = "${oc.env:HOME} \\${seed} \\\\${seed}"
    assert check(text).tracking.run_name == "${oc.env:HOME} \\${seed} \\\\${seed}"
    text["optimizer"]["lr"] = "${seed}"
    with pytest.raises(ConfigError, match=r"optimizer\.lr must be a number, above 0; got '\$\{seed\}'"):
        check(text)
    text["optimizer"]["lr"] = 0.1
    text["dataset"]["in_channels"] = None
    assert check(settle(text, channels=7, classes=2)).dataset.in_channels == 7
    assert text["dataset"]["in_channels"] is None


def test_what_only_the_data_can_say_is_settled_later() -> None:
    composed = compose("dataset=folder", "dataset.images=a", "dataset.masks=b", "model=unet")
    early = check(composed)  # all else is checked without a look at the data
    assert early.model.arguments["num_classes"] == 2
    assert (early.dataset.in_channels, early.dataset.num_classes) == (None, None)
    settled = check(settle(composed, channels=5, classes=4))
    assert (settled.dataset.in_channels, settled.dataset.num_classes) == (5, 4)
    assert (settled.model.arguments["in_channels"], settled.model.arguments["num_classes"]) == (5, 4)
    assert composed.dataset.in_channels is None
    # What the user said stays, for the data to contradict.
    said = compose("dataset=folder", "dataset.images=a", "dataset.masks=b", "dataset.num_classes=3")
    assert check(settle(said, channels=5, classes=4)).model.arguments["num_classes"] == 3
    with pytest.raises(ConfigError, match=r"there is no key 'trainer\.epochs'"):
        check(compose("dataset=folder", "dataset.images=a", "dataset.masks=b", "+trainer.epochs=1"))


@pytest.mark.parametrize("command", ["prepare_data", "tiff_to_png"])
def test_every_command_composes_and_passes(command: str) -> None:
    needed = {"tiff_to_png": ["input=a.tif", "output=b"]}
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose(command, needed.get(command, []))
    schema = SCHEMAS[command]
    checked = plain(check(composed, schema))
    assert set(checked) == {field.name for field in dataclasses.fields(schema)}
    assert all(name in meanings(schema) for name in checked if name not in ("dataset", "paths"))
