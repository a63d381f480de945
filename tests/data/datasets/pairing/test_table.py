"""CSVs of pairs: several masks an image, their classes, and what is inside a file. (See also test_folder.)"""

import pytest

from lamella.data.datasets.pairing import from_csv
from lamella.errors import DataError


@pytest.fixture
def table(tmp_path):
    """Writes a CSV beside a few files, and reads it."""
    for name in ("a.png", "b.png", "1.png", "2.png", "3.png", "f.h5"):
        (tmp_path / name).touch()

    def read(text):
        (tmp_path / "pairs.csv").write_text(text)
        return from_csv(tmp_path / "pairs.csv")

    return read


def test_several_rows_of_an_image_are_one_mask_in_several_files(table):
    found = table("image,mask\na.png,1.png\nb.png,3.png\na.png,2.png\n")
    assert [(pair.id, [path.name for path in pair.mask.paths], pair.mask.labels) for pair in found.pairs] == [
        ("a", ["1.png", "2.png"], ()),
        ("b", ["3.png"], ()),
    ]
    assert found.notes == ["1 image(s) have several masks, together 2 files"]


def test_each_file_may_have_a_class(table):
    found = table("image,mask,class\na.png,1.png,nucleus\na.png,2.png,membrane\nb.png,3.png,nucleus\n")
    assert [pair.mask.labels for pair in found.pairs] == [("nucleus", "membrane"), ("nucleus",)]


def test_what_is_inside_a_file(table):
    (pair,) = table("image,mask\nf.h5:/raw,f.h5:/labels/cells\n").pairs
    assert (pair.id, pair.image.inside, pair.mask.inside) == ("f", "/raw", "/labels/cells")
    with pytest.raises(DataError, match=r"line 2: there is no file .*g\.h5:/raw"):
        table("image,mask\ng.h5:/raw,f.h5:/labels\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,mask\na.png,1.png\na.png,1.png", "line 3: the same image and mask as in line 2"),
        ("image,mask,class\na.png,1.png,", "line 2: no class"),
        ("image,mask,clas\na.png,1.png,x", "has a column 'clas'"),
        ("image,mask,group\na.png,1.png,p\na.png,2.png,q", "line 3: another group or part than in line 2"),
        ("image,mask\na.png,f.h5:/x\na.png,f.h5:/y", r"line 2: .*a\.png has several masks, and this one is .*f\.h5:/x"),
    ],
)
def test_a_contradiction_names_its_line(table, text, problem):
    with pytest.raises(DataError, match=problem):
        table(text)
