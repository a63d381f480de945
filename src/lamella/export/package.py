"""A package of the bioimage.io model zoo, https://bioimage.io: an ONNX file, what goes in and out of it, an example."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import yaml
from bioimageio.spec import InvalidDescr, load_description
from loguru import logger

from lamella.errors import ConfigError
from lamella.inference.checkpoint import Trained

FORMAT = "0.5.12"  # of the description, https://bioimage-io.github.io/spec-bioimage-io
LEAST = 32  # the smallest side that is promised; smaller ones work, and mean little


class Owner(NamedTuple):
    """What its owner says of a package: all of it may be missing, and the zoo asks for it when it is uploaded.

    Attributes:
        authors: names.
        license: an SPDX identifier, such as CC-BY-4.0.
        cite: what to cite: a DOI, or an address.
    """

    authors: Sequence[str]
    license: str | None
    cite: str | None


def write_package(
    path: Path,
    graph: Path,
    trained: Trained,
    facts: Mapping[str, str],
    example: tuple[npt.NDArray[Any], npt.NDArray[np.float32]],
    owner: Owner,
) -> None:
    """Writes a package, the same bytes for the same network, and holds it to bioimage.io's own validator.

    Args:
        path: of the zip file.
        graph: the ONNX file.
        trained: whose it is.
        facts: what the ONNX file says of itself.
        example: an image (1, C, H, W) as stored, and its probabilities.
        owner: what is said of authors and licence.

    Raises:
        ConfigError: the validator refuses it, and what it says.
    """
    image, probability = example
    opset = next(each.version for each in onnx.load(graph).opset_import if each.domain in ("", "ai.onnx"))
    description = _description(trained, facts, str(image.dtype), opset, owner)
    files = {
        "rdf.yaml": yaml.safe_dump(description, sort_keys=False, allow_unicode=True).encode(),
        "README.md": _page(facts).encode(),
        "model.onnx": graph.read_bytes(),
        "input.npy": _npy(image),
        "output.npy": _npy(probability),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # of no time: the same bytes again
    logger.disable("bioimageio")  # it tells of each file that it opens
    found = load_description(path, perform_io_checks=True)
    if isinstance(found, InvalidDescr):
        errors = [error for detail in found.validation_summary.details for error in detail.errors]
        told = "; ".join(f"{'.'.join(map(str, error.loc))}: {error.msg}" for error in errors[:3])
        raise ConfigError(
            f"bioimage.io's validator refuses the package: {' '.join(told.split())}",
            "Where it names authors, license or cite, mend that key.",
        )


def _description(trained: Trained, facts: Mapping[str, str], dtype: str, opset: int, owner: Owner) -> dict[str, Any]:
    """What a package says of itself, as its `rdf.yaml` has it."""
    names = trained.class_names
    given = names[1:] if len(names) == 2 else names

    def side(axis: str) -> dict[str, Any]:
        return {"type": "space", "id": axis, "size": {"min": LEAST, "step": 1}}

    def same(axis: str) -> dict[str, Any]:
        return {"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}}

    def channels(names: Sequence[str]) -> dict[str, Any]:
        return {"type": "channel", "channel_names": list(names)}

    described: dict[str, Any] = {
        "type": "model",
        "format_version": FORMAT,
        "name": _name(f"{facts['network']} {' '.join(names[1:])}"),
        "description": f"{facts['network']} trained with Lamella: {', '.join(names)}"[:1024],
        "documentation": {"source": "README.md"},
        "tags": ["segmentation", "2d", "lamella"],
        "inputs": [
            {
                "id": "image",
                "description": "Levels as the camera stored them: normalisation is inside.",
                "axes": [
                    {"type": "batch"},
                    channels([f"channel{number}" for number in range(trained.channels)]),
                    side("y"),
                    side("x"),
                ],
                "data": {"type": dtype},
                "test_tensor": {"source": "input.npy"},
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "description": "How probable each class is at each pixel.",
                "axes": [{"type": "batch"}, channels(_identifiers(given)), same("y"), same("x")],
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "test_tensor": {"source": "output.npy"},
            }
        ],
        "weights": {"onnx": {"source": "model.onnx", "opset_version": opset}},
        "config": {"lamella": dict(facts)},
    }
    if owner.authors:
        described["authors"] = [{"name": author} for author in owner.authors]
    if owner.license:
        described["license"] = owner.license
    if owner.cite:
        doi = re.fullmatch(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)", owner.cite)
        described["cite"] = [{"text": owner.cite, **({"doi": doi[1]} if doi else {"url": owner.cite})}]
    return described


def _identifiers(names: Sequence[str]) -> list[str]:
    """Names of classes as Python's identifiers, which the zoo wants; each once."""
    plain = [re.sub(r"\W", "_", name) for name in names]
    plain = [name if name.isidentifier() else f"class_{name}" for name in plain]
    return plain if len({*plain}) == len(plain) else [f"{name}_{number}" for number, name in enumerate(plain)]


def _name(text: str) -> str:
    """A name of 5 to 64 of the characters that the zoo takes."""
    return re.sub(r"[^A-Za-z0-9_+\- ()]", " ", text)[:64].strip().ljust(5, "_")


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _page(facts: Mapping[str, str]) -> str:
    rows = "\n".join(f"- **{name}**: {value}" for name, value in facts.items())
    return f"""# {facts["network"]}

A network trained and exported with Lamella. It takes levels as the camera stored them, of any size, and gives class
probabilities; whatever else the training did to images is inside the file.

{rows}

## Validation

Segment images that the network has not seen, and compare with masks drawn by hand: of a good model the overlap (Dice)
is near that of its own test images.
"""
