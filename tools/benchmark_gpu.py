"""What a GPU makes of Lamella: crops a second, waits, memory, repeatability, and whether scores are those of a CPU.

    python tools/benchmark_gpu.py [dataset=blood ...]                             some minutes on a GPU
    python tools/benchmark_gpu.py --parts speed,loss                              some of its parts
    python tools/benchmark_gpu.py --device cpu --batches 2 --steps 4 --crop 64    does this program run at all?

On the phantom of blood smears unless keys of train.py say otherwise, through the real commands, in a folder that is
removed afterwards. A line a finding:

- `speed`: crops/s of each network and batch size: of the network alone, on one batch that stays on the device (forward,
  backward, optimizer: what the card can do), of the loader alone, and of training from files, without and with
  averaged weights, validation left out; the most memory that was taken, and the waits of a training step for the
  device, by file and line (on a GPU);
- `loss`: the same with `boundary_weighted`, the dearest one;
- `deterministic`: training of unet, pspnet and dpt repeats, or what is said against it;
- `scores`: the test scores of one checkpoint on the device and on the CPU, in float32 and in bfloat16.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import torch

from lamella import hardware, tracking
from lamella.cli import main as cli
from lamella.cli.messages import mistake
from lamella.commands import evaluate, train
from lamella.commands.setup import assemble, load
from lamella.config.check import check, settle
from lamella.config.paths import CONF
from lamella.console import console
from lamella.data.loaders.datamodule import SegmentationDataModule
from lamella.data.types import Batch
from lamella.errors import LamellaError
from lamella.hardware import Hardware
from lamella.inference import checkpoint
from lamella.training.task import SegmentationTask

PARTS = ("speed", "loss", "deterministic", "scores")
NETWORKS = ("unet", "ternausnet")
DETERMINISTIC = ("unet", "pspnet", "dpt")
SCORES = ("dice", "iou", "boundary/surface_dice", "calibration/brier")
WARM = 3  # steps that choose kernels and take memory


class Place:
    """Commands that read and write below a folder, with what the program's options say."""

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        cli.register()
        self.uri = f"sqlite:///{root}/runs.db"
        self.where = [f"paths.cache={root}/cache", f"paths.output={root}/outputs", f"tracking.uri={self.uri}"]
        self.common = [
            *(f"trainer={options.device}", f"data.crop={options.crop}", f"data.steps={options.steps}"),
            *("data.workers=null", "trainer.max_epochs=1", "trainer.progress=false", "tracking.figures=0"),
            *(f"tracking.artifacts={root}/artifacts", *options.overrides),
        ]

    def configured(self, command: str, *overrides: str) -> Any:
        common = self.common if command == "train" else []
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return hydra.compose(command, [*common, *overrides, *self.where])

    def train(self, *overrides: str) -> tracking.FinishedRun:
        with quiet():
            train.run(self.configured("train", *overrides))
        return tracking.finished(self.uri)[-1]

    def evaluate(self, run: tracking.FinishedRun, *overrides: str) -> tracking.FinishedRun:
        with quiet():
            evaluate.run(self.configured("evaluate", f"run={run.run_id}", *overrides))
        return tracking.finished(self.uri)[-1]


class Steps:
    """Times training steps, notes their waits and the memory they take, wherever the task is trained."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self.waits: Counter[str] = Counter()

    @contextmanager
    def watched(self, waits: bool) -> Iterator[None]:
        """Within it the steps of every training are noted; looking for waits disturbs the times."""
        begun, ended = SegmentationTask.on_train_batch_start, SegmentationTask.on_train_batch_end
        cuda = self.device.type == "cuda"

        def begin(task: SegmentationTask, batch: Any, batch_idx: int) -> Any:
            if waits and cuda and batch_idx >= WARM:
                warnings.simplefilter("always")  # Lightning's are ignored else
                torch.cuda.set_sync_debug_mode("warn")
            return begun(task, batch, batch_idx)

        def end(task: SegmentationTask, outputs: Any, batch: Any, batch_idx: int) -> None:
            ended(task, outputs, batch, batch_idx)
            if waits and cuda:
                torch.cuda.set_sync_debug_mode("default")
            if not waits and batch_idx in (WARM - 1, task.trainer.num_training_batches - 1):
                wait_for(self.device)
                self.times.append(time.perf_counter())

        def show(message: Any, *_: Any, **__: Any) -> None:
            if "called a synchronizing" in str(message):  # not torch's remark that it may miss some
                ours = [f for f in traceback.extract_stack() if f.filename != __file__ and not of_torch(f.filename)]
                last = [f for f in ours if "site-packages" in f.filename or "lamella" in f.filename][-1]
                self.waits["/".join(Path(last.filename).parts[-3:]) + f":{last.lineno}"] += 1

        SegmentationTask.on_train_batch_start, SegmentationTask.on_train_batch_end = begin, end  # type: ignore[method-assign]
        before = warnings.showwarning
        try:
            if waits:
                warnings.showwarning = show
            yield
        finally:
            SegmentationTask.on_train_batch_start, SegmentationTask.on_train_batch_end = begun, ended  # type: ignore[method-assign]
            warnings.showwarning = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=PARTS)
    parser.add_argument("--batches", type=lambda text: [int(each) for each in text.split(",")], default=[4, 16, 64])
    parser.add_argument("--networks", type=lambda text: text.split(","), default=NETWORKS)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("overrides", nargs="*", help="further keys of train.py")
    options = parser.parse_args()
    machine = hardware.resolve(options.device, "auto")
    say("device", f"{machine.name}, {machine.precision}; torch {torch.__version__}, CUDA {torch.version.cuda}")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options)
        if "speed" in options.parts:
            for network in options.networks:
                for batch in options.batches:
                    with named(f"{network}, batch {batch}"):
                        speed(place, machine, network, batch)
                if machine.device.type == "cuda":
                    say(f"{network}, waits a step", waits(place, machine, network))
        if "loss" in options.parts:
            batch = options.batches[-1]
            with named("boundary_weighted"):
                found = from_files(place, machine, batch, "model=unet", "loss=boundary_weighted")
                say(f"unet, batch {batch}, from files, loss=boundary_weighted", found)
        if "deterministic" in options.parts:
            for network in DETERMINISTIC:
                with named(f"{network}, deterministic"):
                    say(f"{network}, deterministic", repeats(place, network))
        if "scores" in options.parts:
            scores(place, options.device)


def speed(place: Place, machine: Hardware, network: str, batch: int) -> None:
    chosen = (f"model={network}", f"data.batch_size={batch}")
    name = f"{network}, batch {batch}"
    alone, loaded = fixed(place, machine, *chosen)
    say(f"{name}, one batch on the device", alone)
    say(f"{name}, loader alone", loaded)
    for ema in ("0.0", "0.99"):
        say(f"{name}, from files, trainer.ema={ema}", from_files(place, machine, batch, *chosen, f"trainer.ema={ema}"))


def waits(place: Place, machine: Hardware, network: str) -> str:
    """Where a training step makes the host wait for the device, and how often."""
    steps = Steps(machine.device)
    with steps.watched(waits=True):
        place.train(f"model={network}", "trainer.ema=0.99")
    per_step = max(int(place.configured("train").data.steps) - WARM, 1)
    return ", ".join(f"{where} x {number / per_step:.2g}" for where, number in steps.waits.most_common()) or "none"


def fixed(place: Place, machine: Hardware, *overrides: str) -> tuple[str, str]:
    """Forward, backward and optimizer of one batch that never leaves the device; and windows cut, with nothing else."""
    composed = place.configured("train", *overrides)
    with quiet():
        data = load(check(composed), console())
    card = data.dataset.card
    cfg = check(settle(composed, channels=card.channels, classes=len(card.class_names)))
    task, datamodule = assemble(cfg, data, machine)
    loaded = cut(datamodule)
    task.to(machine.device).train()
    size, crop, device = cfg.data.batch_size, cfg.data.crop, machine.device
    image = torch.rand(size, card.channels, crop, crop, device=device) * 255
    mask = torch.randint(0, 2, (size, crop, crop), dtype=torch.uint8, device=device)
    batch = Batch(image, mask, torch.ones_like(mask, dtype=torch.bool), [""] * size)
    optimizer = task.make_optimizer(task.network.parameters())

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=machine.precision == "bf16-mixed"):
            loss = task.loss(task.segmenter.logits(batch.image), batch.mask, batch.valid)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    forget_peak(device)
    times = []
    for number in range(WARM + cfg.data.steps):
        began = time.perf_counter()
        step()
        wait_for(device)
        times += [time.perf_counter() - began] * (number >= WARM)
    return f"{size / statistics.median(times):.4g} crops/s{peak(device)}", loaded


def cut(datamodule: SegmentationDataModule) -> str:
    """How many windows the loader's processes deliver while nobody else is at work."""
    batches = iter(datamodule.train_dataloader())
    ahead = max(1, 2 * datamodule.workers)  # were cut while the processes started
    for _ in range(ahead):
        next(batches, None)
    began = time.perf_counter()
    number = sum(1 for _ in batches)
    took = time.perf_counter() - began
    return f"{number * datamodule.batch_size / took:.4g} crops/s, {datamodule.workers} processes"


def from_files(place: Place, machine: Hardware, batch: int, *overrides: str) -> str:
    """Training as a user starts it: loading, augmentation, steps; validation and test are not timed."""
    forget_peak(machine.device)
    steps = Steps(machine.device)
    with steps.watched(waits=False):
        place.train(f"data.batch_size={batch}", *overrides)
    began, ended = steps.times[0], steps.times[-1]
    timed = int(place.configured("train").data.steps) - WARM
    return f"{batch * timed / (ended - began):.4g} crops/s{peak(machine.device)}"


def repeats(place: Place, network: str) -> str:
    """Whether two trainings end with the same weights, bit by bit."""
    weights = []
    for _ in range(2):
        run = place.train(f"model={network}", "trainer.deterministic=true")
        weights.append(checkpoint.read(run.fetch("checkpoints/best.ckpt"))["state_dict"])
    same = all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    return "repeats to the last bit" if same else "DOES NOT REPEAT"


def scores(place: Place, device: str) -> None:
    """The scores of one checkpoint, by device and precision."""
    run = place.train("model=unet", "trainer.max_epochs=3")
    for where in dict.fromkeys((device, "cpu")):
        for precision in ("32-true", "bf16-mixed"):
            child = place.evaluate(run, f"accelerator={where}", f"precision={precision}")
            found = "  ".join(f"{name} {child.metrics[f'test/{name}']:.5f}" for name in SCORES)
            rate = child.metrics["time/test_images_per_s"]
            say(f"test scores on {where} in {precision}", f"{found}  ({rate:.1f} images/s)")


@contextmanager
def named(what: str) -> Iterator[None]:
    """Goes on with the rest where the machine refuses one thing, once it is said in words."""
    try:
        yield
    except (RuntimeError, LamellaError) as error:
        message = mistake(error)
        if message is None:
            raise
        say(what, " ".join(message))
    finally:
        torch.use_deterministic_algorithms(False)


def of_torch(file: str) -> bool:
    """Whether a file is torch's own: what called it is then what waits."""
    return Path(file).is_relative_to(Path(torch.__file__).parent)


def say(what: str, found: str) -> None:
    print(f"{what}: {found}", flush=True)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> str:
    return f", {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB" if device.type == "cuda" else ""


def quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keeps what the commands print off the screen."""
    return contextlib.redirect_stdout(io.StringIO())


if __name__ == "__main__":
    main()
