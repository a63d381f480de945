"""A checkpoint: network, normalisation, class names and configuration, saved and loaded as one."""

import contextlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from lamella import disk
from lamella.config import plugins
from lamella.config.check import build, is_foreign, kept
from lamella.config.schema import InferenceTarget, ModelKeys, Target
from lamella.config.targets import translated
from lamella.errors import ConfigError, StorageError
from lamella.hardware import Precision
from lamella.inference.segmenter import Normalise, Segmenter
from lamella.inference.settings import OperatingPoint

FORMAT = 1  # of what a checkpoint holds under "lamella"; `lamella.config.targets` knows what was before
_OBJECTS = {"em": "neurites", "phantom_em": "neurites", "blood": "cells", "phantom_blood": "cells"}  # older: not said


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
        changed: plug-ins that the network was trained with and whose code is another one today.
        objects: what connected regions stand for, as the data set's card has it: "cells", "neurites" or "".
        border: pixels on each side that part objects that touch in its classes (`lamella.metrics.instances.rejoined`).
        novelty: what new images are held against, see `lamella.novelty`; None where nothing was kept.
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
    changed: tuple[str, ...]
    objects: str
    border: int
    novelty: dict[str, Any] | None

    @property
    def smallest(self) -> int:
        """Objects of fewer pixels are none, as in the run's own scores."""
        return int(self.config.get("score", {}).get("min_cell_size", 1))

    @property
    def neck(self) -> float | None:
        """Pixels by which a cell must be narrower in between to be two, as in the run's own scores; None: no matter."""
        depth = self.config.get("score", {}).get("split_neck")
        return float(depth) if self.objects == "cells" and depth is not None else None


def keep(
    path: Path, operating_point: OperatingPoint, precision: Precision, novelty: dict[str, Any] | None = None
) -> None:
    """Adds what was chosen, and computed in, to a checkpoint, whose file is replaced whole. Raises StorageError."""
    saved = read(path)
    saved["lamella"] |= {"decided": operating_point._asdict(), "precision": precision, "novelty": novelty}
    write(path, saved)


def write(path: Path, content: Mapping[str, Any], before: Path | None = None) -> None:
    """Writes a checkpoint whole or not at all: beside its place, onto the disk, then under its name.

    Args:
        path: the file; folders are made.
        content: of tensors and plain types.
        before: where the file goes that is there; None: it is no more.

    Raises:
        OSError: names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        if before is not None and path.exists():
            before.unlink(missing_ok=True)
            try:
                os.link(path, before)  # so that there is one under its name at every moment
            except OSError:  # a file system without links
                path.replace(before)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        # What the system said; torch may have put an error of its own in front of it.
        said = next((each for each in disk.behind(error) if isinstance(each, OSError) and each.errno), None)
        if said is None:
            raise
        raise OSError(said.errno, said.strerror, str(path)) from error
    disk.keep_names(path.parent)


def whole(path: Path) -> dict[str, Any]:
    """The raw content of a checkpoint whose bytes are all as they were written. Raises StorageError."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the sums that it writes
            damaged = archive.testzip()
    except FileNotFoundError:
        raise StorageError(f"the checkpoint {path} is missing") from None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise StorageError(f"it was not written to its end ({error})") from error
    if damaged:
        raise StorageError(f"it is damaged at {damaged}")
    return read(path)


def contents(
    config: str,
    class_names: Sequence[str],
    dtype: str,
    code: Mapping[str, str] | None = None,
    *,
    objects: str = "",
    border: int = 0,
) -> dict[str, Any]:
    """What goes into a checkpoint beside Lightning's state, in plain types.

    Args:
        config: the resolved configuration as YAML.
        class_names: one a class.
        dtype: the type of the images' levels in their files.
        code: the plug-ins that the configuration names, each with its fingerprint.
        objects: what connected regions stand for, see `DatasetCard`.
        border: pixels on each side that part objects that touch, see `Trained`.
    """
    return {
        "format": FORMAT,
        "config": config,
        "class_names": list(class_names),
        "dtype": dtype,
        "decided": None,
        "code": dict(code or {}),
        "objects": objects,
        "border": border,
        "novelty": None,
    }


def load(path: Path, trust: Sequence[str] = ()) -> Trained:
    """The network of a checkpoint with its weights, and all that it needs to predict. No code in the file is run.

    Args:
        path: of the file.
        trust: modules or .py files of a user's own that the checkpoint may name: its network's.

    Raises:
        ConfigError: `trust` names what cannot be imported.
        StorageError: the file is missing, damaged, or no checkpoint of Lamella; or it names code that is not trusted.
    """
    modules = plugins.load(trust, "trust")
    saved = read(path)
    content = saved["lamella"]
    config = _config(content, path)
    try:
        model, dataset, context = config["model"], config["dataset"], config["data"]["context"]
        own = {key: value for key, value in model.items() if key not in ("init_from", "init_part")}
        if "encoder_weights" in own:  # the checkpoint has the weights; nothing is fetched
            own["encoder_weights"] = None
        channels, scale, percentiles = (dataset[name] for name in ("in_channels", "scale", "percentiles"))
        names, dtype = tuple(content["class_names"]), content["dtype"]
        decided = content.get("decided")  # older ones lack the key
        chosen = OperatingPoint(**decided) if decided else None
        if chosen and not all(isinstance(each, float | None) for each in chosen):
            raise TypeError(f"no operating point: {decided}")
        channels, scale, context = int(channels), float(scale), int(context)
        stretched = None if percentiles is None else (float(percentiles[0]), float(percentiles[1]))
        of_model, of_inference = kept(own, ModelKeys, modules), kept(config["inference"], InferenceTarget)
    except ConfigError as error:
        raise StorageError(f"{path}: {error.problem}", error.remedy.replace("plugins=[", "trust=[")) from error
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError) as error:
        raise StorageError(f"{path} is damaged: what it says of its network is not whole ({error})") from error
    network: Any = build(of_model)
    if not isinstance(network, torch.nn.Module):
        raise StorageError(f"{path}: {of_model.target} makes no network today, but a {type(network).__name__}")
    try:
        state = saved["state_dict"]
        mean, std, low, high = (state[f"normalise.{name}"].flatten() for name in ("mean", "std", "low", "high"))
        normalise = Normalise(mean.tolist(), std.tolist(), float(low), float(high))
        network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    except (
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # torch lists every weight; the first line says which network
        problem = f"the weights in {path} do not fit {model['name']}: {str(error).splitlines()[0]}"
        raise StorageError(problem, "It was written by another version of the network: train again.") from error
    # As in training: the same kernels, the same bits.
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    segmenter = Segmenter.of(network, normalise, build(of_inference), context)
    return Trained(
        segmenter.at(chosen.threshold) if chosen else segmenter,
        names,
        dtype,
        channels,
        scale,
        stretched,
        chosen,
        content.get("precision", "32-true"),
        config,
        _changed(content.get("code"), of_model, modules),
        content.get("objects", _OBJECTS.get(str(dataset.get("name")), "")),
        int(content.get("border", 0)),
        content.get("novelty"),
    )


def changed(module: str) -> str:
    """What is said of a plug-in whose code is not what the network was trained with."""
    return f"{module} is not the code that the network was trained with: the run keeps that under code/"


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
    format_ = content.get("format", 0) if isinstance(content, dict) else None
    if not isinstance(format_, int):
        raise StorageError(f"{path} is damaged: what Lamella keeps in it cannot be read")
    if format_ > FORMAT:
        raise StorageError(
            f"{path} has the format {format_}; this version of Lamella reads formats up to {FORMAT}",
            "A later version wrote it: install that one to use it.",
        )
    config = _config(content, path)
    for name in ("data", "score", "trainer", "tracking", "dataset", "model"):
        if not isinstance(config.get(name, {}), dict):
            raise StorageError(f"{path} is damaged: {name} in its configuration is no group of keys")
    content["config"] = OmegaConf.to_yaml(OmegaConf.create(translated(config, format_)))
    content["format"] = FORMAT
    return saved


def _changed(code: Any, model: Target, modules: Sequence[str]) -> tuple[str, ...]:
    """The network's plug-in, where its code is not what the checkpoint says; no other that the file may name."""
    module = plugins.owner(model.target, modules) if is_foreign(model) else None
    if module is None or not isinstance(code, dict) or plugins.fingerprints([module])[module] == code.get(module):
        return ()
    return (module,)


def _config(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration in a checkpoint, plain. It is text of somebody else's: no interpolation in it is resolved."""
    try:
        config: Any = OmegaConf.to_container(OmegaConf.create(content["config"]), resolve=False)
        return {name: config[name] for name in config}
    except Exception as error:  # of YAML, of OmegaConf, or of what is no text at all
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StorageError(f"{path} is damaged: its configuration cannot be read: {reason}") from error
