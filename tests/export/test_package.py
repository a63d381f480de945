"""A bioimage.io package passes the zoo's own validator, and is the same made twice."""

import zipfile

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from lamella.errors import ConfigError
from lamella.export.package import Owner, write_package
from lamella.export.plain import described
from support.trained import trained

NOBODY = Owner((), None, None)


def graph(path, classes):
    """A model in place of a network: what is validated is the package."""
    taken = helper.make_tensor_value_info("image", TensorProto.UINT8, [None, 3, None, None])
    given = helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None, classes, None, None])
    nodes = [helper.make_node("Cast", ["image"], ["probability"], to=TensorProto.FLOAT)]
    made = helper.make_model(helper.make_graph(nodes, "g", [taken], [given]))
    made.opset_import[0].version = 18
    onnx.save(made, path)
    return path


@pytest.mark.parametrize(
    ("classes", "owner"),
    [(2, NOBODY), (3, Owner(["Ada Lovelace"], "CC-BY-4.0", "https://doi.org/10.1109/5.771073"))],
)
def test_a_package_is_valid_and_the_same_made_twice(tmp_path, classes, owner):
    of = trained(classes=classes)
    image = np.full((1, 3, 64, 70), 9, np.uint8)
    example = image, np.full((1, 1 if classes == 2 else classes, 64, 70), 0.5, np.float32)
    facts = described(of, "run 1")
    source = graph(tmp_path / "model.onnx", classes)
    for name in ("one.zip", "other.zip"):
        write_package(tmp_path / name, source, of, facts, example, owner)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        said = yaml.safe_load(archive.read("rdf.yaml"))
    assert said["outputs"][0]["axes"][1]["channel_names"] == (["cell"] if classes == 2 else ["ground", "cell", "dirt"])
    assert said["config"]["lamella"] == facts
    assert ("authors" in said) == bool(owner.authors)
    assert said.get("license") == owner.license


def test_what_the_validator_refuses_is_said_in_its_words(tmp_path):
    of = trained()
    example = np.full((1, 3, 64, 70), 9, np.uint8), np.full((1, 1, 64, 70), 0.5, np.float32)
    source, facts = graph(tmp_path / "model.onnx", 1), described(of, "")
    with pytest.raises(ConfigError, match=r"validator refuses the package: .*license"):
        write_package(tmp_path / "a.zip", source, of, facts, example, Owner((), "MIT or so", None))
