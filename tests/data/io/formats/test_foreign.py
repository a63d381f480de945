"""Formats that are known and not read: said what they are, and what to do; none is called damaged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamella.data.io.formats.foreign import _MAGIC, FOREIGN
from lamella.data.io.read import SUFFIXES, foreign, header, read
from lamella.errors import DataError
from support.files import GREY, put


def encoded(kind):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind)
    return buffer.getvalue()


def test_no_format_is_both_read_and_foreign():
    assert not set(FOREIGN) & set(SUFFIXES)
    assert all(suffix in FOREIGN or suffix in SUFFIXES for *_, suffix in _MAGIC)
    assert foreign(Path("a.tif")) is None


@pytest.mark.parametrize("suffix", sorted(FOREIGN))
def test_what_a_suffix_says(tmp_path, suffix):
    ref = put(tmp_path, b"whatever", f"a{suffix}")
    for ask in (read, header):
        with pytest.raises(DataError, match=f"a{suffix} is .*, which is not read here") as caught:
            ask(ref)
        assert "{" not in caught.value.remedy
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("a.tif", "PNG", "a PNG picture"),
        ("a.tiff", "JPEG", "a JPEG picture"),
        ("a.png", "TIFF", "a TIFF"),
        ("a.png", "GIF", "a GIF"),
        ("a.jpg", "WEBP", "a WebP picture"),
        ("a.tif", "BMP", "a BMP picture"),
        ("a.npy", "PNG", "a PNG picture"),
        ("a.h5", "TIFF", "a TIFF"),
        ("a.nii", "TIFF", "a TIFF"),
        ("a.nii.gz", "PNG", "a PNG picture"),
        ("a.mrc", "PNG", "a PNG picture"),
        ("a.bmp", "ICO", "an icon"),
        ("a.png", "PDF", "a PDF"),
    ],
)
def test_content_of_another_kind_than_the_name(tmp_path, name, kind, what):
    ref = put(tmp_path, encoded(kind), name)
    with pytest.raises(DataError, match=f"{name} is {what} by its content, whatever its name says") as caught:
        read(ref)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<?xml version='1.0'?>\n<svg xmlns='x'></svg>", "a vector drawing"),
        (b"\0\0\0\x18ftypheic" + bytes(50), "a HEIC picture"),
        (b"<!DOCTYPE html>\n<html><head><title>404</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a note of Git LFS"),
        (b"ZISRAWFILE" + bytes(50), "a file of ZEISS ZEN"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.h5"])
def test_content_without_a_program_that_writes_it(tmp_path, content, what, name):
    with pytest.raises(DataError, match=f"{name} is {what}.* by its content"):
        read(put(tmp_path, content, name))


def test_commands_can_be_copied(tmp_path):
    (tmp_path / "my data").mkdir()
    with pytest.raises(DataError) as caught:
        read(put(tmp_path / "my data", b"", "a b.czi"))
    assert f"`bfconvert '{tmp_path}/my data/a b.czi' '{tmp_path}/my data/a b'.tif`" in caught.value.remedy


def test_a_jpeg_named_png_is_an_image_all_the_same(tmp_path):
    """One that can be seen and counted is read; as a mask it is refused by what it is (`test_masks`)."""
    ref = put(tmp_path, encoded("JPEG"), "a.png")
    with Image.open(ref.path) as picture:
        assert np.array_equal(read(ref), np.asarray(picture))


def test_a_damaged_file_of_its_own_kind_is_said_to_be_so(tmp_path):
    with pytest.raises(DataError, match="cannot be read as an image") as caught:
        read(put(tmp_path, encoded("PNG")[:60], "a.png"))
    assert "damaged" in caught.value.remedy
