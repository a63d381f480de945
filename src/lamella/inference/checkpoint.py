"""A checkpoint: network, normalisation, class names and configuration, saved and loaded as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from lamella.config.check import build, kept
from lamella.config.targets import translated
from lamella.errors import StorageError
from lamella.hardware import Precision
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.settings import OperatingPoint

FORMAT = 1  # of what a checkpoint holds under "lamella"; `lamella.config.targets` knows what was before


class Trained(NamedTuple):
    """What a checkpoint holds: everything that turns an image into classes.

    Attributes:
        segmenter: network, normalisation and how they predict, with the threshold of the operating point.
        class_names: one a class.
        dtype: of the levels in the files that it was trained on.
        channels: of an image.
        scale: images are shrunk by this before the network sees them.
        percentiles: each image is stretched from these of its levels; None: its levels are taken as stored.
        operating_point: None where a run was stopped before validation could choose.
        precision: what its run's test computed in; float32 where an older version or a stopped run does not tell.
        config: the run's configuration, plain, in this version's names.
    """

    segmenter: Segmenter
    class_names: tuple[str, ...]
    dtype: str
    channels: int
    scale: float
    percentiles: tuple[float, float] | None
    operating_point: OperatingPoint | None
    precision: Precision
    config: dict[str, Any]


def keep(path: Path, operating_point: OperatingPoint, precision: Precision) -> None:
    """Adds what was chosen, and computed in, to a checkpoint, whose file is replaced whole. Raises StorageError."""
    saved = read(path)
    saved["lamella"] |= {"decided": operating_point._asdict(), "precision": precision}
    part = path.with_suffix(".part")
    torch.save(saved, part)
    part.replace(path)


def contents(config: str, class_names: Sequence[str], dtype: str) -> dict[str, Any]:
    """What goes into a checkpoint beside Lightning's state, in plain types.

    Args:
        config: the resolved configuration as YAML.
        class_names: one a class.
        dtype: the type of the images' levels in their files.
    """
    return {"format": FORMAT, "config": config, "class_names": list(class_names), "dtype": dtype, "decided": None}


def load(path: Path) -> Trained:
    """The network of a checkpoint with its weights, and all that it needs to predict. No code in the file is run.

    Raises:
        StorageError: the file is missing, damaged, or no checkpoint of Lamella.
    """
    saved = read(path)
    content = saved["lamella"]
    config: Any = OmegaConf.to_container(OmegaConf.create(content["config"]))
    model, dataset = config["model"], config["dataset"]
    # The checkpoint has the weights; nothing is fetched.
    network = build(kept(model | {"encoder_weights": None}))
    try:
        state = saved["state_dict"]
        mean, std, low, high = (state[f"normalise.{name}"].flatten() for name in ("mean", "std", "low", "high"))
        normalise = Normalise(mean.tolist(), std.tolist(), float(low), float(high))
        network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    except (KeyError, RuntimeError) as error:  # torch lists every weight; the first line says which network
        problem = f"the weights in {path} do not fit {model['name']}: {str(error).splitlines()[0]}"
        raise StorageError(problem, "It was written by another version of the network: train again.") from error
    network = network.eval().to(memory_format=torch.channels_last)  # as in training: the same kernels, the same bits
    segmenter = Segmenter.of(network, normalise, build(kept(config["inference"])), config["data"]["context"])
    chosen = OperatingPoint(**content["decided"]) if content.get("decided") else None  # older ones lack the key
    percentiles = dataset["percentiles"]
    return Trained(
        segmenter.at(chosen.threshold) if chosen else segmenter,
        tuple(content["class_names"]),
        content["dtype"],
        dataset["in_channels"],
        dataset["scale"],
        None if percentiles is None else (percentiles[0], percentiles[1]),
        chosen,
        content.get("precision", "32-true"),
        config,
    )


def read(path: Path) -> dict[str, Any]:
    """The raw content of a checkpoint. Raises StorageError."""
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StorageError(f"the checkpoint {path} is missing") from None
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StorageError(f"{path} cannot be read as a checkpoint: {reason}") from error
    if not isinstance(saved, dict) or "lamella" not in saved:
        raise StorageError(f"{path} is no checkpoint of Lamella")
    content = saved["lamella"]
    format_ = content.get("format", 0)
    if format_ > FORMAT:
        raise StorageError(
            f"{path} has the format {format_}; this version of Lamella reads formats up to {FORMAT}",
            "A later version wrote it: install that one to use it.",
        )
    config: Any = OmegaConf.to_container(OmegaConf.create(content["config"]))
    content["config"] = OmegaConf.to_yaml(OmegaConf.create(translated(config, format_)))
    content["format"] = FORMAT
    return saved
