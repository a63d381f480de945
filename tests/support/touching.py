"""Pictures of numbered cells of which most touch: what connected regions cannot count."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage
from scipy.spatial import cKDTree


def touching_cells(seed: int, side: int = 128) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """An image (side, side) and the ids of its cells: clumps of two to six cells, a dark rim around each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    middles: list[tuple[float, float]] = []
    clumps = rng.permutation([(a, b) for a in range(22, side - 10, 42) for b in range(22, side - 10, 42)])
    for top, left in clumps:
        middles += [(top + rng.uniform(-9, 9), left + rng.uniform(-9, 9)) for _ in range(int(rng.integers(1, 4)))]
    kept: list[tuple[float, float]] = []
    for one in middles:
        if all(np.hypot(one[0] - other[0], one[1] - other[1]) > 9 for other in kept):
            kept.append(one)
    radius = rng.uniform(6, 9, len(kept))
    distance, nearest = cKDTree(kept).query(np.stack([y, x], -1).reshape(-1, 2))
    ids = np.where(distance < radius[nearest], nearest + 1, 0).reshape(side, side).astype(np.uint16)
    rim = (ndimage.maximum_filter(ids, 3) != ids) | (ndimage.minimum_filter(ids, 3) != ids)
    level = np.where(ids > 0, 150.0, 70.0) - 50 * (rim & (ids > 0))
    noisy = ndimage.gaussian_filter(level, 0.6) + rng.normal(0, 8, level.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), ids


def write_touching(folder: Path, count: int, side: int = 128) -> tuple[Path, Path]:
    """Writes pairs of `touching_cells` and gives the folders of images and of masks."""
    places = folder / "images", folder / "masks"
    for place in places:
        place.mkdir(parents=True)
    for seed in range(count):
        for place, array in zip(places, touching_cells(seed, side), strict=True):
            tifffile.imwrite(place / f"smear_{seed}{'ab'[seed % 2]}.tif", array)
    return places
