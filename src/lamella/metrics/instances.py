"""A mask -> instances: its connected regions, or those cut at their necks where cells touch."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]

# Pixels that meet at a corner are neighbours: outlines drawn as polygons leave single pixels hanging by a corner.
_NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)
_CROSS = ndimage.generate_binary_structure(2, 1)


def components(mask: Mask, valid: Mask, *, smallest: int = 1) -> Labels:
    """The 8-connected components of a mask, each one instance.

    Args:
        mask: (H, W).
        valid: (H, W); what is not valid is in no instance, and a cell that it cuts counts by what is left.
        smallest: components of fewer pixels are no instance.

    Returns:
        (H, W): 0 outside instances, ids from 1 inside, in the order of their first pixels.
    """
    labels = np.asarray(ndimage.label(mask & valid, _NEIGHBOURS)[0], dtype=np.int32)
    return _without_small(labels, smallest)


def split_touching(mask: Mask, valid: Mask, *, depth: float, smallest: int = 1) -> Labels:
    """The components of a mask, each cut at its necks: for cells that touch.

    A component is flooded from the maxima of its distance to the background (L. Vincent, P. Soille
    1991, IEEE PAMI 13:583). Maxima between which that distance nowhere falls by `depth` count as one
    (h-maxima, L. Vincent 1993, IEEE TIP 2:176), so that a rough outline cuts nothing. No pixel is lost to a cut.

    Args:
        mask: (H, W).
        valid: (H, W); what is not valid is background, and so is what lies beyond the picture.
        depth: in pixels: a neck that is this much narrower, measured from its middle, than both its ends is cut.
        smallest: instances of fewer pixels, after the cut, are none.

    Returns:
        (H, W): 0 outside instances, ids from 1 inside. A component without a neck is one instance, however small.
    """
    labels = components(mask, valid)
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(labels > 0, 1)))[1:-1, 1:-1]
    found = int(labels.max())
    boxes = ndimage.find_objects(labels)
    for number in np.flatnonzero(np.bincount(labels[distance > depth])):
        box = boxes[number - 1]
        component = labels[box] == number
        parts = cut(component, distance[box], depth)
        labels[box][component] = parts[component] + found
        found += int(parts.max())
    return _without_small(labels, smallest)


def cut(component: Mask, distance: npt.NDArray[np.float64], depth: float) -> Labels:
    """The parts of one component that is deeper than `depth`, from 1; 0 outside it, see `split_touching`.

    Args:
        component: (h, w), in its box.
        distance: (h, w), to the background.
        depth: in pixels.
    """
    distance = np.where(component, distance, 0)
    # Each maximum lowered by `depth`: those that then lie below the way to a higher one are gone.
    lowered = reconstruction(distance - depth, distance)
    seeds, found = ndimage.label(local_maxima(lowered) & component, _NEIGHBOURS)
    parts = component if found < 2 else watershed(-distance, seeds, mask=component, connectivity=2)
    return np.asarray(parts, dtype=np.int32)


def of_classes(cut: Callable[[Mask], Labels], classes: npt.NDArray[np.uint8]) -> Labels:
    """The instances of every class but the background, cut class by class: objects of two classes are never one.

    Args:
        cut: (H, W) mask of one class -> its instances, ids from 1.
        classes: (H, W), class ids.

    Returns:
        (H, W): 0 outside instances, ids from 1 inside.
    """
    labels = np.zeros(classes.shape, np.int32)
    for each in range(1, int(classes.max(initial=0)) + 1):
        there = cut(classes == each)
        labels = np.where(there > 0, there + labels.max(initial=0), labels)
    return labels


def rejoined(labels: Labels, valid: Mask, width: int) -> Labels:
    """The instances with the border given back that parts those which touch, see `lamella.data.types.Labelling`.

    A pixel in no instance is border where one instance is at most `width` pixels away, and another at most twice as
    far (of the eight neighbours' distance). It falls to the nearest.

    Args:
        labels: (H, W), 0 outside instances.
        valid: (H, W); what is not valid is in no instance.
        width: pixels of the border on each side; 0 changes nothing.
    """
    if not width:
        return labels
    reach = 4 * width + 1
    highest = ndimage.maximum_filter(labels, reach)
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, np.iinfo(np.int32).max), reach)
    between = (labels == 0) & valid & (highest > 0) & (lowest != highest)
    for _ in range(width):
        beside, around = ndimage.maximum_filter(labels, footprint=_CROSS), ndimage.maximum_filter(labels, 3)
        labels = np.where(between & (labels == 0), np.where(beside > 0, beside, around), labels)
    return labels


def _without_small(labels: Labels, smallest: int) -> Labels:
    sizes = np.bincount(labels.reshape(-1))
    kept = sizes >= smallest
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]
