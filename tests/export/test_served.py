"""What MLflow hands a served network: arrays, tables of files, and what is neither."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
import tifffile
from mlflow.exceptions import MlflowException
from PIL import Image

from lamella.export.served import Served
from support.trained import trained

RGB = np.random.default_rng(0).integers(0, 255, (9, 8, 3), np.uint8)
GREY = RGB[..., 0].copy()


def served(**of):
    """Whose probability is the first channel's level."""
    return Served(trained(**of), lambda image: np.moveaxis(image[..., :1], -1, 0).astype(np.float32) / 255)


def file(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def test_arrays_are_images_or_stacks_of_them():
    ids = (GREY / np.float32(255) > 0.4).astype(np.uint8)
    colour, grey = served(), served(channels=1)
    assert np.array_equal(colour.predict(RGB), ids)
    assert np.array_equal(colour.predict({"image": RGB.tolist()}), ids)
    assert np.array_equal(colour.predict(np.stack([RGB, RGB])), [ids, ids])
    assert np.array_equal(grey.predict(GREY), ids)
    assert np.array_equal(grey.predict(GREY[..., None]), ids)
    assert np.array_equal(grey.predict(np.stack([GREY, GREY])), [ids, ids])
    soft = grey.predict(GREY, {"probabilities": True})
    assert soft.shape == (9, 8, 1)
    assert soft.dtype == np.float32
    assert np.array_equal(soft[..., 0], GREY / np.float32(255))


def test_a_table_has_the_bytes_of_files_or_these_in_base64():
    model = served()
    tiff = io.BytesIO()
    tifffile.imwrite(tiff, RGB)
    contents = [file(RGB), tiff.getvalue(), file(RGB, "BMP")]
    wanted = model.predict(RGB)
    for rows in (contents, [base64.b64encode(each).decode() for each in contents]):
        found = model.predict(pd.DataFrame({"image": rows, "note": 1}))
        assert isinstance(found, list)
        assert all(np.array_equal(each, wanted) for each in found)
    assert len(model.predict({"image": np.array(contents[:1], object)})) == 1
    assert model.predict(pd.DataFrame({"image": [file(RGB, "JPEG")]}))[0].shape == wanted.shape
    assert [each.shape for each in model.predict(pd.DataFrame({"image": [file(RGB), file(RGB[:5])]}))] == [
        (9, 8),
        (5, 8),
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (GREY, r"an array of shape \(9, 8\) is no image of 3 channel"),
        (np.zeros((9, 8, 4), np.uint8), "is no image of 3 channel"),
        (np.zeros((0, 8, 3), np.uint8), "no array of levels"),
        (RGB.astype(np.uint16), "the levels are not uint8"),
        ([[[0.5, 1, 2]]], "the levels are not uint8"),
        ([[[256, 1, 2]]], "the levels are not uint8"),
        ([[[1, 2, 3]], [[1, 2]]], "not of one length"),
        ([[None]], "of type object"),
        ("hello!", "row 1 of image is not in base64"),
        (b"text", "row 1 of image is neither PNG"),
        ([file(RGB), file(RGB)[:40]], "row 2 of image"),
        ([file(GREY)], r"row 1 of image has 1 channel"),
        ([file(GREY.astype(np.uint16))], "row 1 of image has"),
        ({"picture": 1}, "there is no column image, but picture"),
        ({"image": {"a": 1}}, "of type object"),
    ],
)
def test_what_is_no_image_is_one_sentence(given, says):
    with pytest.raises(MlflowException, match=says) as caught:
        served().predict(given)
    assert caught.value.get_http_status_code() == 400
    caught.value.message = "what MLflow would write in front"
    assert "in front" not in caught.value.message
    assert "\n" not in caught.value.message
    assert "/tmp" not in caught.value.message


def test_channels_are_not_taken_for_a_stack_of_narrow_images():
    with pytest.raises(MlflowException, match=r"an array of shape \(9, 8, 3\) is no image of 1 channel"):
        served(channels=1).predict(RGB)
