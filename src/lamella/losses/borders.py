"""How much a pixel's weight grows by lying between two cells: the border term of U-Net's weight map, on any device.

On the CPU SciPy finds regions and distances, crop by crop. Elsewhere torch does, without anything read back: the host
only issues operations, and never waits. Both find the same, but for weights below w0 * 2e-8.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

_REACH = 6  # deviations: a gap between cells wider than this adds less than w0 * 2e-8
_AT_ONCE = 2**16  # pixels whose distances torch looks at together: some hundred megabytes for a moment


def border(ids: torch.Tensor, w0: float, sigma: float, *, of_background: bool) -> torch.Tensor:
    """The border term of a batch, float32 (B, H, W), where the class ids (B, H, W) lie; as `border_weights` says."""
    if ids.device.type != "cpu":
        return border_by_torch(ids, w0, sigma, of_background=of_background)
    found = [border_weights(each, w0, sigma, of_background=of_background) for each in ids.numpy()]
    return torch.from_numpy(np.stack(found))


def border_weights(
    ids: npt.NDArray[np.integer], w0: float, sigma: float, *, of_background: bool
) -> npt.NDArray[np.float32]:
    """How much each pixel's weight grows by lying between two cells: w0 exp(-(d1 + d2)^2 / (2 sigma^2)).

    Args:
        ids: class ids (H, W).
        w0: its greatest value.
        sigma: its width in pixels.
        of_background: cells are the regions of class 0, not those of the other classes.

    Returns:
        float32 (H, W), 0 inside cells.
    """
    classes = [0] if of_background else range(1, int(ids.max(initial=0)) + 1)
    nearest = np.full(ids.shape, np.inf)
    second = np.full(ids.shape, np.inf)
    reach = int(np.ceil(_REACH * sigma))
    for class_id in classes:
        cells, _ = ndimage.label(ids == class_id)
        for number, box in enumerate(ndimage.find_objects(cells), 1):
            around = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
            distance = ndimage.distance_transform_edt(cells[around] != number)
            second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
            nearest[around] = np.minimum(nearest[around], distance)
    weights = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(nearest > 0, weights, 0).astype(np.float32)


def border_by_torch(ids: torch.Tensor, w0: float, sigma: float, *, of_background: bool) -> torch.Tensor:
    """The same as `border_weights` for a batch (B, H, W), in operations of torch alone: float32 (B, H, W)."""
    reach = int(np.ceil(_REACH * sigma))
    cells = F.pad(regions(ids, ids == 0 if of_background else ids > 0), [reach] * 4, value=-1)
    height, width = ids.shape[1:]
    rows = max(1, _AT_ONCE // width)
    crops = []
    for crop in cells:
        strips = [_between(crop[top : top + rows + 2 * reach], reach, sigma) for top in range(0, height, rows)]
        crops.append(torch.cat(strips))
    return w0 * torch.stack(crops)


def regions(ids: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Connected regions (by edges) of equal ids: int64 (B, H, W), a number for all pixels of a region; -1: no cell.

    O. Boruvka's way to join trees: all at once, each tree is hung on its neighbour of the lowest number, which at least
    halves their number in each connected region. So many rounds are enough, and nobody need look whether it is done.

    Args:
        ids: class ids (B, H, W).
        cell: bool (B, H, W), the same for all pixels of an id.
    """
    pixels, (_, height, width) = ids.numel(), ids.shape
    number = torch.arange(pixels, device=ids.device)
    # The trees of the beginning are the stretches of rows.
    begins = torch.ones_like(cell)
    begins[..., 1:] = ids[..., 1:] != ids[..., :-1]
    tree = torch.where(begins, number.view_as(ids), 0).cummax(-1).values
    joined = cell[:, 1:] & (ids[:, 1:] == ids[:, :-1])
    for doublings in range((height * width).bit_length(), 0, -1):  # as deep as trees may hang one on another
        above, below = tree[:, :-1], tree[:, 1:]
        apart = joined & (above != below)
        hung = torch.full_like(number, pixels)
        for one, other in ((above, below), (below, above)):
            hung.scatter_reduce_(0, one.flatten(), torch.where(apart, other, pixels).flatten(), "amin")
        hung = torch.where(hung < pixels, hung, number)
        hung = torch.where(hung[hung] == number, torch.minimum(hung, number), hung)  # of two on each other one stands
        for _ in range(doublings):
            hung = hung[hung]
        tree = hung[tree]
    return torch.where(cell, tree, -1)


def _between(cells: torch.Tensor, reach: int, sigma: float) -> torch.Tensor:
    """The border term for w0 = 1 inside a frame of `reach` pixels: numbers of cells (h, w) -> float32, smaller."""
    squares = torch.arange(-reach, reach + 1, device=cells.device).float() ** 2
    along_row = cells.unfold(1, len(squares), 1)  # (h, W, 2 * reach + 1)
    found = _two_nearest(torch.where(along_row < 0, torch.inf, squares), along_row)
    far = [square.unfold(0, len(squares), 1) + squares for square, _ in found]  # (H, W, 2 * reach + 1)
    whose = [cell.unfold(0, len(squares), 1) for _, cell in found]
    (nearest, _), (second, _) = _two_nearest(torch.cat(far, dim=-1), torch.cat(whose, dim=-1))
    weights = torch.exp(-((nearest.sqrt() + second.sqrt()) ** 2) / (2 * sigma**2))
    return torch.where(nearest > 0, weights, 0)


def _two_nearest(far: torch.Tensor, whose: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The least of each row of distances (..., n) and whose it is, and the same of all that is not the same cell's."""
    found = []
    for _ in range(2):
        least, place = far.min(dim=-1)
        cell = whose.gather(-1, place[..., None])
        found.append((least, cell[..., 0]))
        far = torch.where(whose == cell, torch.inf, far)
    return found
