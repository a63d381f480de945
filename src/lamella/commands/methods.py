"""Every method with its size, its work and its source, as a table; or the encoders that go into them."""

import sys
import warnings
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Column, Table
from torch.utils.flop_counter import FlopCounterMode

from lamella.config.check import build, kept
from lamella.config.paths import CONF, typed
from lamella.config.schema import ModelKeys
from lamella.config.words import suggestion
from lamella.errors import ConfigError
from lamella.models.smp.encoders import encoder_names, has_imagenet_weights

USAGE = """Lamella: print the models, with parameters, FLOPs and source; or the encoders.

  {typed}                      every model that model=NAME can name
  {typed} model=unet,fpn       these
  {typed} encoders             every encoder that model.encoder=NAME can name
  {typed} encoders=resnet      those with resnet in their name"""
CHANNELS, CLASSES, SIDE = 3, 2, 256
MODELS = CONF / "model"


class Row(NamedTuple):
    """A row of the table: parameters that training changes, FLOPs of one image forward, the first line of its file."""

    name: str
    parameters: int
    flops: int
    source: str


def run(arguments: list[str]) -> int:
    """The exit code, after the table that the arguments ask for was printed. Raises ConfigError."""
    warnings.filterwarnings("ignore", module="timm|segmentation_models_pytorch")
    out = Console()
    if {"--help", "-h", "help"} & {*arguments}:
        sys.stdout.write(USAGE.replace("{typed}", typed("methods")) + "\n")
        return 0
    known = {"model": "", "encoders": ""}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in known:
            raise ConfigError(f"there is no key {key!r}", suggestion(key, known))
        known[key] = value
    if any(argument.startswith("encoders") for argument in arguments):
        out.print(encoder_table(known["encoders"]))
    else:
        out.print(model_table(known["model"].split(",") if known["model"] else model_names(), out))
    return 0


def model_names() -> list[str]:
    """The names that `model=NAME` takes, sorted."""
    return sorted(path.stem for path in MODELS.glob("*.yaml"))


def measure(name: str) -> Row:
    """A model's row, built as its file says, for RGB and two classes. Raises ConfigError: there is no such model."""
    file = MODELS / f"{name}.yaml"
    if not file.is_file():
        raise ConfigError(f"there is no model {name!r}", suggestion(name, model_names()))
    around = {"dataset": {"in_channels": CHANNELS, "num_classes": CLASSES}, "seed": 0}  # what the file refers to
    composed: Any = OmegaConf.to_container(OmegaConf.create({**around, "model": OmegaConf.load(file)}), resolve=True)
    network = build(kept(composed["model"], ModelKeys))
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    source = file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    return Row(name, parameters, forward_flops(network) if parameters else 0, source)


def forward_flops(network: torch.nn.Module) -> int:
    """FLOPs of convolutions and matrix products for one image, 2 a multiply-add; by shapes, nothing is computed."""
    network = network.eval().to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, CHANNELS, SIDE, SIDE, device="meta"))
    return int(counter.get_total_flops())


def model_table(names: list[str], out: Console) -> Table:
    """A table with a row for each model; building them is shown as progress on `out`."""
    table = Table(
        "model",
        *(Column(name, justify="right") for name in ("parameters, M", "GFLOPs")),
        Column("source", overflow="fold"),
        title=f"model=NAME, for {CHANNELS} channels and {CLASSES} classes",
        caption=f"Parameters that training changes. FLOPs: one image of {SIDE} x {SIDE} forward, convolutions and "
        "matrix products, 2 FLOPs a multiply-add.",
        caption_justify="left",
    )
    with out.status("building") as status:
        for name in names:
            status.update(f"building {name}")
            row = measure(name)
            numbers = (f"{row.parameters / 1e6:.2f}", f"{row.flops / 1e9:.1f}") if row.parameters else ("none", "-")
            table.add_row(row.name, *numbers, row.source)
    return table


def encoder_table(part: str) -> Table:
    """A table with a row for each encoder that has `part` in its name. Raises ConfigError: there is none."""
    names = [name for name in encoder_names() if part in name]
    if not names:
        raise ConfigError(f"no encoder has {part!r} in its name", f"All: {typed('methods')} encoders")
    caption = "weights: published, for model.encoder_weights=imagenet"
    table = Table("encoder", "weights", title="model.encoder=NAME", caption=caption)
    for name in names:
        table.add_row(name, "yes" if has_imagenet_weights(name) else "-")
    return table
