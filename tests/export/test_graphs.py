"""Written graphs give PyTorch's probabilities at every size, also where Lamella is not installed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lamella.data.io.read import read_image
from lamella.data.types import ImageRef
from lamella.errors import ConfigError
from lamella.export import graphs
from lamella.export.plain import Plain, by_torch, described
from support.trained import CONF, trained

NETWORKS = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in {"bht", "kmeans", "otsu", "watershed"})
SIZES = ((1, 256, 256), (2, 301, 517), (1, 64, 2000), (1, 1, 1), (3, 17, 40))
WRITTEN = {"onnx": (graphs.write_onnx, graphs.run_onnx), "pt2": (graphs.write_pt2, graphs.run_pt2)}
# What another program does: no line of Lamella, and none of Lamella's to be found.
ELSEWHERE = """
import importlib.util, sys
import numpy as np
assert importlib.util.find_spec("lamella") is None
file, images, found = sys.argv[1:]
image = np.load(images)
if file.endswith(".onnx"):
    import onnxruntime
    result = onnxruntime.InferenceSession(file).run(None, {"image": image})[0]
    assert "torch" not in sys.modules
else:
    import torch
    result = torch.export.load(file).module()(torch.from_numpy(image)).numpy()
np.save(found, result)
"""


def images(of, sizes=SIZES):
    low, high = float(of.segmenter.normalise.low), float(of.segmenter.normalise.high)
    random = np.random.default_rng(0)
    for batch, height, width in sizes:
        levels = low + (high - low) * random.random((batch, of.channels, height, width))
        yield levels.astype(of.dtype)


def worst(run, of, given):
    found = [(run(image), by_torch(of, torch.from_numpy(image)).numpy()) for image in given]
    assert all(one.shape == other.shape and one.dtype == np.float32 for one, other in found)
    return max(np.abs(one - other).max() for one, other in found)


def graph(of):
    return graphs.traced(Plain(of), of.channels, of.dtype)


@pytest.fixture(scope="module")
def one():
    """A network of three classes, with zeros around images."""
    return trained(context=2, classes=3)


@pytest.fixture(scope="module")
def files(one, tmp_path_factory):
    folder, program = tmp_path_factory.mktemp("files"), graph(one)
    facts = described(one, "run 1")
    for kind, (write, _) in WRITTEN.items():
        write(folder / f"model.{kind}", program, facts)
    return folder


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_file_gives_pytorchs_probabilities_at_every_size(one, files, kind):
    assert worst(WRITTEN[kind][1](files / f"model.{kind}"), one, images(one)) < 1e-4


@pytest.mark.parametrize("kind", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])  # torch takes seconds to load
def test_a_file_runs_where_lamella_is_not_installed(one, files, tmp_path, kind):
    (image,) = images(one, [(2, 50, 61)])
    np.save(tmp_path / "image.npy", image)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.path = [each for each in sys.path if 'src' not in each]"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [str(files / f"model.{kind}"), str(tmp_path / "image.npy"), str(tmp_path / "found.npy")]
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], cwd=tmp_path, capture_output=True, text=True,
                          env=environment | {"PYTHONPATH": str(tmp_path)}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert np.abs(np.load(tmp_path / "found.npy") - by_torch(one, torch.from_numpy(image)).numpy()).max() < 1e-5


def test_a_file_says_what_it_is(one, files):
    model = onnx.load(files / "model.onnx")
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts == described(one, "run 1")
    assert json.loads(facts["classes"]) == ["ground", "cell", "dirt"]
    assert facts["source"] == "run 1"
    assert facts["scale"] == "1"
    (taken,), (given,) = model.graph.input, model.graph.output
    assert (taken.name, given.name) == ("image", "probability")
    assert taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    sizes = [each.dim_value for each in taken.type.tensor_type.shape.dim]
    assert sizes == [0, 3, 0, 0]  # 0: any
    assert not any("/" in each.value for node in model.graph.node for each in node.metadata_props)
    with zipfile.ZipFile(files / "model.pt2") as archive:
        (extra,) = [name for name in archive.namelist() if name.endswith("lamella.json")]
        assert json.loads(archive.read(extra)) == facts


def test_a_branch_on_the_image_is_refused_in_words():
    class Branching(nn.Module):
        def forward(self, image):
            return image if image.sum() > 3 else -image

    with pytest.raises(ConfigError, match=r"torch\.export cannot follow this network") as caught:
        graphs.traced(Branching(), 1, "float32")
    assert "no branch" in caught.value.remedy


def test_a_method_without_training_has_no_graph():
    with pytest.raises(ConfigError, match="otsu is a method without a network"):
        Plain(trained("otsu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "of",
    [
        {"dtype": "uint16", "channels": 1, "percentiles": (1.0, 99.0)},
        {"dtype": "float32", "channels": 5, "classes": 4},
        {"dtype": "uint16", "channels": 2, "scale": 0.3},
        {"scale": 0.5, "classes": 3},
        {"name": "unet_ronneberger", "scale": 0.7, "context": 32},
    ],
    ids=str,
)
def test_levels_of_every_type(of, tmp_path):
    network = trained(**of)
    program = graph(network)
    for kind, (write, run) in WRITTEN.items():
        write(tmp_path / f"model.{kind}", program, described(network, ""))
        assert worst(run(tmp_path / f"model.{kind}"), network, images(network)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_written_and_the_same(name, tmp_path):
    """At random images of all sizes, one pixel included, and at parts of a real one."""
    network = trained(name)
    given = [*images(network, SIZES), *real(network)]
    program = graph(network)
    for kind, (write, run) in WRITTEN.items():
        write(tmp_path / f"model.{kind}", program, described(network, ""))
        assert worst(run(tmp_path / f"model.{kind}"), network, given) < 1e-4


def real(network):
    """Parts of a real image of blood cells; none where the data sets are not."""
    folder = Path(os.environ.get("LAMELLA_DATA", "nowhere")) / "blood"
    place = next((path for path in sorted(folder.rglob("*.png")) if "mask" not in str(path).lower()), None)
    if place is None:
        return
    pixels = read_image(ImageRef(place), 3)
    for height, width in ((256, 256), (301, 517), (64, 2000)):
        yield np.ascontiguousarray(pixels[None, :, 100 : 100 + height, :width]).astype(network.dtype)
