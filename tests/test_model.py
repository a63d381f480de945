"""A trained model as a function: where and how exactly it computes, from Python and through MLflow."""

import subprocess
import sys
import warnings

import mlflow.pyfunc
import numpy as np
import pytest
import tifffile
import torch
from mlflow import MlflowClient
from scipy import ndimage

import lamella
from lamella import tracking
from lamella.data.types import ImageRef
from lamella.errors import ConfigError, DataError, StorageError
from lamella.hardware import has_bfloat16
from lamella.inference.arrays import pictures
from lamella.inference.pictures import predict_rows
from lamella.model import Model
from support.checkpoints import kept
from support.stores import empty_store

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 40), np.uint8)
CPU = torch.device("cpu")


def test_it_computes_as_its_runs_test_did_where_the_device_can(tmp_path):
    exact = Model(kept(tmp_path / "float.ckpt", "32-true"))
    assert (exact.hardware.device, exact.hardware.precision) == (CPU, "32-true")
    assert Model(kept(tmp_path / "stopped.ckpt", None)).hardware.precision == "32-true"
    path = kept(tmp_path / "bfloat.ckpt", "bf16-mixed")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = Model(path)
    assert model.hardware.precision == ("bf16-mixed" if has_bfloat16(CPU) else "32-true")
    assert [str(each.message)[:36] for each in told] == ["its run's test computed in bfloat16,"] * (
        not has_bfloat16(CPU)
    )
    insisted = Model(path, precision="bf16-mixed")
    off = np.abs(insisted.predict(IMAGE) - exact.predict(IMAGE)).max()
    assert 0 < off < 0.05
    assert np.array_equal(Model(path, precision="32-true").predict(IMAGE), exact.predict(IMAGE))


def test_a_device_or_precision_that_is_none_is_refused(tmp_path):
    path = kept(tmp_path / "a.ckpt", "32-true")
    for wrong in ("tpu", "cuda:x", "", "gpu0"):
        with pytest.raises(ConfigError, match="there is no device"):
            Model(path, device=wrong)
    with pytest.raises(ConfigError, match="there is no precision '16'"):
        Model(path, precision="16")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return lamella.load(kept(tmp_path_factory.mktemp("kept") / "best.ckpt", "32-true"))


def test_probabilities_and_class_ids_of_one_image(model):
    share, labels = model.predict(IMAGE), model.segment(IMAGE)
    assert (share.shape, share.dtype) == ((1, 48, 40), np.float32)
    assert (labels.shape, labels.dtype) == ((48, 40), np.uint8)
    assert 0 < labels.mean() < 1
    assert np.array_equal(labels, share[0] > np.float32(model.threshold))
    assert model.class_names == ("ground", "cell")


def test_they_are_those_of_the_one_loop_that_predicts_files(model, tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", IMAGE)
    (band,) = predict_rows(model.trained, ImageRef(tmp_path / "image.tif"), model.hardware, tta=None)
    assert np.array_equal(model.predict(IMAGE), band.probability)


@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (48, 40)), ("XY", (40, 48)), ("YXC", (48, 40, 1)), ("syx", (1, 48, 40))]
)
def test_axes_in_any_order_are_one_image(model, axes, shape):
    image = IMAGE.T if axes == "XY" else IMAGE.reshape(shape)
    assert np.array_equal(model.segment(image, axes=axes), model.segment(IMAGE))


def test_a_stack_is_its_images(model):
    stack = np.stack([IMAGE, IMAGE[::-1], IMAGE[:, ::-1], 255 - IMAGE, IMAGE])
    found = model.predict(stack)
    assert found.shape == (5, 1, 48, 40)
    assert all(np.array_equal(one, model.predict(image)) for one, image in zip(found, stack, strict=True))
    assert model.segment(stack[..., None], axes="ZYXC").shape == (5, 48, 40)
    assert model.segment(stack[:2].swapaxes(0, 1), axes="YTX").shape == (2, 48, 40)


@pytest.mark.parametrize("layout", ["turned", "read-only", "Fortran", "every second", "mapped", "big-endian bool"])
def test_arrays_of_any_layout_are_read_as_they_are(model, layout, tmp_path):
    image, wanted = IMAGE.copy(), IMAGE
    if layout == "turned":
        image, wanted = np.rot90(image), np.ascontiguousarray(np.rot90(image))
    elif layout == "read-only":
        image.setflags(write=False)
    elif layout == "Fortran":
        image = np.asfortranarray(image)
    elif layout == "every second":
        image = np.repeat(image, 2, axis=1)[:, ::2]
    elif layout == "mapped":
        np.save(tmp_path / "image.npy", image)
        image = np.load(tmp_path / "image.npy", mmap_mode="r")
    else:
        image, wanted = IMAGE > 90, np.where(IMAGE > 90, np.uint8(255), np.uint8(0))
    assert np.array_equal(model.predict(image), model.predict(wanted))


def test_sixteen_bits_and_fractions_in_any_byte_order(tmp_path):
    for dtype in ("uint16", "float32"):
        model = Model(kept(tmp_path / f"{dtype}.ckpt", "32-true", dtype=dtype))
        image = IMAGE.astype(dtype) * 2
        assert np.array_equal(model.predict(image.astype(image.dtype.newbyteorder(">"))), model.predict(image))
    assert np.array_equal(model.predict(image.astype(float)), model.predict(image))
    image[3, 4], image[5, 6] = np.nan, np.inf
    with pytest.raises(DataError, match="the array holds 2 values that are NaN, infinite or beyond float32"):
        model.predict(image)


@pytest.mark.parametrize(
    ("image", "axes", "problem", "remedy"),
    [
        (IMAGE.astype(np.uint16), None, "holds uint16 levels, and this model was trained on uint8", "as the training"),
        (IMAGE.astype(complex), None, "the array holds complex128 values", "real numbers"),
        (IMAGE.tolist(), None, "the image is a list, and a NumPy array is wanted", "np.asarray(image)"),
        (torch.from_numpy(IMAGE), None, "the image is a torch.Tensor", "image.cpu().numpy()"),
        (np.ma.masked_less(IMAGE, 9), None, "a masked array", "image.filled(value)"),
        (IMAGE[:0], None, "the shape 0 x 40", ""),
        (IMAGE[0], None, "has 1 dimensions (40): images have two to four", ""),
        (np.stack([IMAGE] * 3, -1), None, "has the shape 48 x 40 x 3, which does not say which axis is which",
         'axes="YXC" if it is one image of 3 channel(s) (this model was trained on 1), axes="ZYX" if it is a stack'),
        (np.stack([IMAGE] * 3), None, "has the shape 3 x 48 x 40, which does not say",
         'axes="CYX" if it is one image of 3 channel(s), channels first (this model was trained on 1), axes="ZYX"'),
        (IMAGE[None], None, "has the shape 1 x 48 x 40, which does not say", 'axes="CYX" if it is one image'),
        (np.stack([IMAGE] * 3, -1), "YXC", "3 channel(s) by its axes YXC", "the channels it learned from"),
        (np.stack([[IMAGE] * 6] * 5), None, "5 x 6 x 48 x 40, and this model was trained on images of 1", "(H, W)"),
        (IMAGE, "ZYX", "axes='ZYX' has 3 letters, and the array 2 dimensions", "one letter a dimension"),
        (IMAGE, "XX", "axes='XX' names no images", "Name each axis once"),
        (IMAGE, "YQ", "axes='YQ' names no images", "Name each axis once"),
        (np.stack([[IMAGE]]), "ZTYX", "axes='ZTYX' names no images", "Name each axis once"),
    ],
)  # fmt: skip
def test_what_is_no_image_of_the_model_is_one_sentence(model, image, axes, problem, remedy):
    with pytest.raises(DataError) as caught:
        model.segment(image, axes=axes)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_channels_are_found_where_they_are_plain():
    for shape, axes in {
        (48, 40, 3): "YXC", (3, 48, 40): "CYX", (7, 48, 40, 3): "ZYXC", (7, 3, 48, 40): "ZCYX", (2, 9, 9, 3): "ZYXC"
    }.items():  # fmt: skip
        found, stack = pictures(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), None, 3)
        assert stack == axes.startswith("Z")
        assert found.shape[1:] == (3, *(shape[axes.index(letter)] for letter in "YX"))
    for shape in ((3, 48, 3), (3, 3, 3, 3)):
        with pytest.raises(DataError, match="does not say which axis is which"):
            pictures(np.zeros(shape, np.uint8), None, 3)
    with pytest.raises(DataError, match="48 x 40, and this model was trained on images of 3 channel"):
        pictures(np.zeros((48, 40), np.uint8), None, 3)


def test_objects_are_numbered_in_each_image(model):
    stack = np.stack([IMAGE, IMAGE[::-1]] * 3)
    numbers, labels = model.objects(stack), model.segment(stack)
    assert (numbers.shape, numbers.dtype) == ((6, 48, 40), np.uint32)
    assert np.array_equal(numbers > 0, labels > 0)
    assert np.array_equal(numbers[0], ndimage.label(labels[0], np.ones((3, 3)))[0])
    assert np.array_equal(model.objects(IMAGE), numbers[0])


def test_what_gave_class_ids_before_says_what_does_now(model):
    with pytest.raises(AttributeError, match=r"Model\.segment class ids"):
        model.probability(IMAGE)


def test_a_model_is_found_by_file_folder_and_run(model, tmp_path):
    folder = tmp_path / "kept"
    (folder / "checkpoints").mkdir(parents=True)
    path = kept(folder / "checkpoints" / "best.ckpt", "32-true")
    tracking.save_model(folder / "model", path)
    store = empty_store(tmp_path / "runs.db")
    with tracking.start(
        uri=store, artifacts=None, experiment="e", run_name="r", params={}, tags={}, output=folder / "outputs"
    ) as run:
        run.log_folder(folder)
    for source in (path, str(path), folder, folder / "checkpoints", folder / "model"):
        assert np.array_equal(lamella.load(source).predict(IMAGE), model.predict(IMAGE))
    assert np.array_equal(lamella.load(run.run_id, uri=store).predict(IMAGE), model.predict(IMAGE))
    client = MlflowClient(store)
    client.create_registered_model("cells")
    client.create_model_version("cells", (folder / "model").as_uri(), run.run_id)
    client.set_registered_model_alias("cells", "champion", "1")
    assert np.array_equal(lamella.load("models:/cells@champion", uri=store).predict(IMAGE), model.predict(IMAGE))
    for wrong, said in (
        ("nowhere", "no file or folder"),
        (tmp_path, "holds no checkpoint"),
        ("0" * 32, "there is no run"),
    ):
        with pytest.raises(StorageError, match=said):
            lamella.load(wrong, uri=store)


def test_an_ensemble_is_the_mean_and_must_belong_together(tmp_path):
    one, two = (kept(tmp_path / f"{seed}.ckpt", "32-true", seed=seed) for seed in (0, 1))
    both = lamella.load([one, two])
    mean = (lamella.load(one).predict(IMAGE) + lamella.load(two).predict(IMAGE)) / 2
    assert np.allclose(both.predict(IMAGE), mean, atol=1e-7)
    other = kept(tmp_path / "other.ckpt", "32-true", dtype="uint16")
    with pytest.raises(ConfigError, match="type of levels of the first is uint8, of number 2 uint16"):
        lamella.load([one, other])
    with pytest.raises(ConfigError, match="no model is named"):
        lamella.load([])


def test_importing_lamella_imports_nothing_else():
    code = "import lamella, sys; sys.exit(not {'torch', 'numpy', 'mlflow'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mlflow_passes_device_and_precision_on(tmp_path):
    path = kept(tmp_path / "best.ckpt", "32-true")
    tracking.save_model(tmp_path / "model", path)
    plain = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    chosen = {"device": "auto", "precision": "bf16-mixed"}
    other = mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config=chosen)
    exact, rounded = (each.predict(IMAGE, params={"probabilities": True}) for each in (plain, other))
    assert 0 < np.abs(exact - rounded).max() < 0.05
    assert plain.predict(IMAGE).shape == other.predict(IMAGE).shape == (48, 40)
