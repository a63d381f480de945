"""Which pixels lie in an outline: by hand, against other libraries, and as sums of parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from skimage.draw import polygon2mask

from lamella.data.annotations.outlines import Bitmap, Ellipse, Outline, covered, ring


def filled(size, *parts):
    there = covered(Outline("it", "", parts), size)
    whole = np.zeros(size, bool)
    if there is not None:
        whole[there[0]] = there[1]
    return whole


def drawn(*rows):
    return [[letter == "#" for letter in row] for row in rows]


def test_a_rectangle_has_the_pixels_between_its_edges():
    square = ring([(1, 1), (4, 1), (4, 3), (1, 3)])
    assert filled((4, 5), (square,)).tolist() == drawn(".....", ".###.", ".###.", ".....")
    assert np.array_equal(filled((4, 5), (square[::-1],)), filled((4, 5), (square,)))


def test_a_pixel_counts_where_its_centre_does():
    nearly = ring([(1.51, 1.51), (3.49, 1.51), (3.49, 2.49), (1.51, 2.49)])
    assert not filled((4, 5), (nearly,)).any()
    just = ring([(1.49, 1.49), (2.51, 1.49), (2.51, 2.51), (1.49, 2.51)])
    assert filled((4, 5), (just,)).tolist() == drawn(".....", ".##..", ".##..", ".....")


def test_centres_on_edges_go_to_one_side():
    """Left and upper edges are inside, right and lower ones outside."""
    square = ring([(1.5, 0.5), (3.5, 0.5), (3.5, 2.5), (1.5, 2.5)])
    assert filled((4, 5), (square,)).tolist() == drawn(".##..", ".##..", ".....", ".....")


def test_a_triangle_by_hand():
    triangle = ring([(0, 0), (4, 0), (0, 4)])
    # The centre of (row, column) lies inside where row + column + 1 < 4; on the edge, which is a right one, outside.
    assert filled((4, 4), (triangle,)).tolist() == drawn("###.", "##..", "#...", "....")


def test_holes_and_islands():
    around, hole, island = (ring([(a, a), (b, a), (b, b), (a, b)]) for a, b in ((0, 7), (1, 6), (2, 5)))
    found = filled((7, 7), (around, hole, island))
    assert found.sum() == 49 - 25 + 9
    assert not found[1, 1]
    assert found[2, 2]


def test_parts_are_one_object_where_they_overlap():
    left, right = (ring([(x, 0), (x + 3, 0), (x + 3, 2), (x, 2)]) for x in (0, 2))
    assert filled((2, 6), (left,), (right,)).tolist() == drawn("#####.", "#####.")


def test_what_reaches_beyond_the_image_is_cut_off():
    assert filled((3, 3), (ring([(-5, -5), (2, -5), (2, 50), (-5, 50)]),)).tolist() == drawn("##.", "##.", "##.")
    for corners in ([(3, 0), (9, 0), (9, 3)], [(0, -4), (3, -4), (3, 0)], [(-2, 0), (0, 0), (-2, 3)]):
        assert covered(Outline("it", "", ((ring(corners),),)), (3, 3)) is None


def test_pixels_of_a_bitmap_and_of_an_ellipse():
    bits = np.array([[1, 0, 1], [1, 1, 1]], bool)
    assert filled((3, 4), Bitmap(bits, 1, 2)).tolist() == drawn("....", "..#.", "..##")
    assert filled((3, 4), Bitmap(bits, -1, -1)).tolist() == drawn("##..", "....", "....")
    assert covered(Outline("it", "", (Bitmap(bits, 3, 0),)), (3, 4)) is None
    assert filled((4, 4), Ellipse(2, 2, 2, 2)).tolist() == drawn(".##.", "####", "####", ".##.")
    assert filled((4, 4), Ellipse(2, 1, 2, 1)).tolist() == drawn("####", "####", "....", "....")


@pytest.mark.parametrize("points", [[], [(0, 0)], [(0, 0), (1, 1)], [(0, 0), (1, np.nan), (2, 2)], [1, 2, 3]])
def test_what_is_no_closed_line(points):
    with pytest.raises(ValueError, match="it"):
        ring(points)


corners = st.lists(st.tuples(st.floats(-3, 15), st.floats(-3, 15)), min_size=3, max_size=9)


@given(corners)
@settings(max_examples=200, deadline=None)
def test_polygons_are_as_other_libraries_fill_them(points):
    """Where no centre lies on an edge, skimage and matplotlib agree, pixel centres being whole numbers for skimage."""
    points = np.array(points) + np.array([0.123456789, 0.707106781])  # so that no edge passes through a centre
    found = filled((12, 12), (ring(points),))
    centres = np.stack(np.mgrid[:12, :12], axis=-1)[..., ::-1].reshape(-1, 2) + 0.5
    crossings = np.zeros(144, int)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):  # one edge at a time, by hand
        x, y = centres.T
        between = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings += between & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    assert np.array_equal(found.ravel(), crossings % 2 == 1)


def test_a_real_shape_as_skimage_and_matplotlib_fill_it():
    angle = np.linspace(0, 2 * np.pi, 37)[:-1]
    radius = 20 + 6 * np.sin(5 * angle)
    points = np.stack([30.2 + radius * np.cos(angle), 28.7 + radius * np.sin(angle)], axis=1)
    found = filled((60, 64), (ring(points),))
    assert np.array_equal(found, polygon2mask((60, 64), points[:, ::-1] - 0.5))
    centres = np.stack(np.mgrid[:60, :64], axis=-1)[..., ::-1].reshape(-1, 2) + 0.5
    assert np.array_equal(found.ravel(), Polygon(points).contains_points(centres))


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), min_size=3, max_size=12, unique=True), st.data())
@settings(max_examples=100, deadline=None)
def test_neighbours_share_no_pixel_and_leave_none_out(quarters, data):
    """Triangles around a point, whose corners lie on edges and centres of pixels, fill what they enclose just once."""
    middle = np.array([3.125, 3.375])
    points = np.array(quarters) / 4
    points = points[np.argsort(np.arctan2(*(points - middle).T))]
    times = np.zeros((6, 6), int)
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        (ax, ay), (bx, by) = a - middle, b - middle
        turned = ax * by - ay * bx
        times += np.sign(turned).astype(int) * filled((6, 6), (ring([middle, a, b]),))
    assert np.array_equal(abs(times) % 2 == 1, filled((6, 6), (ring(points),)))
