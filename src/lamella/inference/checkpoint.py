"""A checkpoint: network, normalisation, class names and configuration, saved and loaded as one."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from lamella.config.check import as_yaml, build, kept
from lamella.config.schema import Config
from lamella.config.targets import translated
from lamella.data.types import DatasetCard
from lamella.errors import StorageError
from lamella.inference.segmenter import Inference, Normalise, Segmenter
from lamella.models.classical.base import Classical

FORMAT = 1  # of what a checkpoint holds under "lamella"; `lamella.config.targets` knows what was before


class Decided(NamedTuple):
    """What the validation images decided after training.

    Attributes:
        threshold: foreground lies above it (two classes).
        temperature: logits are divided by it to make probabilities of them that can be believed; 1 where a method
            gives masks alone.
        neurite_threshold: on the probability of the interior, for V_rand and V_info; None where there are no neurites.
    """

    threshold: float
    temperature: float
    neurite_threshold: float | None


class Trained(NamedTuple):
    """What a checkpoint gives back: everything that turns an image into classes."""

    segmenter: Segmenter
    class_names: tuple[str, ...]
    dtype: str
    config: DictConfig
    decided: Decided | None  # None where a run was stopped before validation could decide


def keep(path: Path, decided: Decided) -> None:
    """Adds what validation decided to a checkpoint; the file is replaced whole. Raises StorageError."""
    saved = read(path)
    saved["lamella"]["decided"] = decided._asdict()
    part = path.with_suffix(".part")
    torch.save(saved, part)
    part.replace(path)


def contents(cfg: Config, card: DatasetCard, dtype: str) -> dict[str, Any]:
    """What goes into a checkpoint beside Lightning's state, in plain types.

    Args:
        cfg: the run's.
        card: the data it trains on.
        dtype: the type of the images' levels in their files.
    """
    return {
        "format": FORMAT,
        "config": as_yaml(cfg),
        "class_names": list(card.class_names),
        "dtype": dtype,
        "decided": None,
    }


def inference_of(how: Inference, context: int, network: torch.nn.Module) -> tuple[Inference, int]:
    """How whole images are predicted, and the frame around them.

    A method without training takes the image as it is: no tiles, no frame, and no views of it that change nothing.
    """
    if isinstance(network, Classical):
        return dataclasses.replace(how, tile=sys.maxsize, tta=False), 0
    return how, context


def load(path: Path) -> Trained:
    """Builds the network of a checkpoint and gives it its weights. No code in the file is run.

    Raises:
        StorageError: the file is missing, damaged, or no checkpoint of Lamella.
    """
    saved = read(path)
    cfg = OmegaConf.create(saved["lamella"]["config"])
    cfg.model.encoder_weights = None  # the checkpoint has the weights; nothing is fetched
    config: Any = OmegaConf.to_container(cfg)
    network = build(kept(config["model"]))
    try:
        state = saved["state_dict"]
        mean, std, low, high = (state[f"normalise.{name}"].flatten() for name in ("mean", "std", "low", "high"))
        normalise = Normalise(mean.tolist(), std.tolist(), float(low), float(high))
        network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    except (KeyError, RuntimeError) as error:  # torch lists every weight; the first line says which network
        problem = f"the weights in {path} do not fit {cfg.model.name}: {str(error).splitlines()[0]}"
        raise StorageError(problem, "It was written by another version of the network: train again.") from error
    network = network.eval().to(memory_format=torch.channels_last)  # as in training: the same kernels, the same bits
    how = inference_of(build(kept(config["inference"])), cfg.data.context, network)
    segmenter = Segmenter(network, normalise, *how)
    saved = saved["lamella"]
    decided = Decided(**saved["decided"]) if saved.get("decided") else None  # older checkpoints do not have the key
    if decided:
        segmenter = segmenter.at(decided.threshold)
    return Trained(segmenter, tuple(saved["class_names"]), saved["dtype"], cfg, decided)


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
