"""Phantoms: pictures made by a program that look like the real data and lie on disk in its layout.

    write_em(folder, ...)     train-volume.tif, train-labels.tif    as ISBI-2012: sections of neuropil
    write_blood(folder, ...)  {train,test}/{original,mask}/         as BBBC041Seg: stained blood smears

They need no download, so every command can be tried at once. A score on a phantom says that the
program works; it says nothing about real images.
"""

import math
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lamella.data.blood import blood
from lamella.data.em import em
from lamella.data.types import Dataset
from lamella.errors import StorageError
from lamella.keys import Key

Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

# Streams of random numbers: one for each kind of thing, so that none can shift another.
_TISSUE, _SECTION, _TRAIN, _TEST = range(4)


def phantom_em(
    *,
    cache: Annotated[str, Key("folder under which the phantom is made, once")],
    seed: Annotated[int, Key("another seed makes another tissue", least=0)],
    sections: Annotated[int, Key("sections in the block", least=3)],
    size: Annotated[int, Key("height and width of a section, pixels", least=64)],
) -> Dataset:
    """A phantom block of sections, made where it is missing. Raises StorageError."""
    folder = Path(cache) / f"phantom_em-{seed}-{sections}x{size}"
    write_em(folder, seed=seed, sections=sections, size=size)
    return _said_to_be_phantom(em(root=str(folder)), "neuropil")


def phantom_blood(
    *,
    cache: Annotated[str, Key("folder under which the phantom is made, once")],
    seed: Annotated[int, Key("another seed makes other smears", least=0)],
    train: Annotated[int, Key("images of the train part", least=2)],
    test: Annotated[int, Key("images of the test part", least=1)],
    height: Annotated[int, Key("of each image, pixels; a red cell is about 26 wide", least=64)],
    width: Annotated[int, Key("of each image, pixels", least=64)],
) -> Dataset:
    """Phantom blood smears, made where they are missing. Raises StorageError."""
    folder = Path(cache) / f"phantom_blood-{seed}-{train}-{test}-{height}x{width}"
    write_blood(folder, seed=seed, train=train, test=test, height=height, width=width)
    return _said_to_be_phantom(blood(root=str(folder)), "blood smears")


def _said_to_be_phantom(made: Dataset, what: str) -> Dataset:
    card = replace(
        made.card,
        name=f"phantom_{made.card.name}",
        title=f"generated {what}, {made.card.class_names[1]} against {made.card.class_names[0]}",
        source="made by lamella.data.phantom; a score says that the program works, nothing about real images",
        phantom=True,
    )
    return Dataset(card, made.samples)


def write_em(folder: Path, *, seed: int, sections: int, size: int) -> None:
    """Write a phantom of serial-section electron microscopy, in the layout of ISBI-2012.

    `train-volume.tif` holds the sections, `train-labels.tif` the truth: 0 is membrane, 255 interior.
    Both are (sections, size, size), uint8, one page a section. Structures have the pixel sizes of the real
    data (4 nm a pixel, sections 50 nm apart). A section depends on seed, size and its own number only.

    Args:
        folder: made by this call, all or nothing; left as it is where it already holds something, so its name
            should tell the arguments.
        seed: 0 or more.
        sections: how many sections, 1 or more.
        size: height and width of a section in pixels.

    Raises:
        StorageError: the folder cannot be written.
    """

    def fill(new: Path) -> None:
        neurites = _grow_neurites(seed, size)
        pairs = [_em_section(neurites, seed, index) for index in range(sections)]
        images, labels = zip(*pairs, strict=True)
        for name, pages in (("train-volume.tif", images), ("train-labels.tif", labels)):
            tifffile.imwrite(new / name, np.stack(pages), photometric="minisblack")

    _write_folder(folder, fill)


def write_blood(folder: Path, *, seed: int, train: int, test: int, height: int, width: int) -> None:
    """Write a phantom of stained blood smears, in the layout of BBBC041Seg.

    `{train,test}/original/NAME.{png,jpg}` are RGB images, `{train,test}/mask/NAME.png` the truth: RGB, three
    equal channels, 255 is cell, 0 is not. All are (height, width, 3), uint8. Red and white cells are cells,
    platelets and dirt are not. One image in eight is a JPEG. Names of test images begin with e or f, others
    do not. An image depends on seed, height, width, its part and its own number only.

    Args:
        folder: made by this call, all or nothing; left as it is where it already holds something, so its name
            should tell the arguments.
        seed: 0 or more.
        train: how many images in `train`.
        test: how many images in `test`.
        height: of each image, in pixels; a red cell is about 26 pixels wide.
        width: of each image, in pixels.

    Raises:
        StorageError: the folder cannot be written.
    """

    def fill(new: Path) -> None:
        # The JPEGs of each part are so placed that six images always hold at least one.
        for part, count, stream, first_jpeg in (("train", train, _TRAIN, 3), ("test", test, _TEST, 2)):
            (new / part / "original").mkdir(parents=True)
            (new / part / "mask").mkdir()
            for index in range(count):
                rng = np.random.default_rng((seed, stream, index))
                name = _uuid(rng, "ef" if part == "test" else "0123456789abcd")
                image, mask = _blood_smear(rng, height, width)
                suffix = "jpg" if index % 8 == first_jpeg else "png"
                original = new / part / "original" / f"{name}.{suffix}"
                # JPEG heeds the first setting, PNG the second: less squeezed, twice as fast.
                Image.fromarray(image).save(original, quality=88, compress_level=3)
                Image.fromarray(np.dstack([mask] * 3)).save(new / part / "mask" / f"{name}.png")

    _write_folder(folder, fill)


def _write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have `fill` write into a new folder and move that to `folder` at the end: whole, or not there."""
    try:
        if _holds_something(folder):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            # One level down, since the temporary folder itself is closed to other users.
            new = Path(temporary) / folder.name
            new.mkdir()
            fill(new)
            try:
                new.replace(folder)
            except OSError:
                if not _holds_something(folder):  # else another process was first: its pictures are the same
                    raise
    except OSError as error:
        raise StorageError(
            f"cannot write the phantom data to {folder}: {error.strerror or error}",
            "Free some space there, or choose a folder you may write to with paths.data=FOLDER.",
        ) from error


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _uuid(rng: np.random.Generator, first: str) -> str:
    """A name like those of the real files, beginning with one of the letters `first`."""
    digits = rng.choice(list("0123456789abcdef"), 31)
    return str(uuid.UUID(rng.choice(list(first)) + "".join(digits), version=4))


def _clouds(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Floats:
    """Smooth noise of shape (H, W), mean about 0, deviation about 1; blobs about `scale` pixels wide."""
    height, width = shape
    knots = (math.ceil(height / scale) + 4, math.ceil(width / scale) + 4)
    coarse = rng.standard_normal(knots, dtype=np.float32)
    at = np.meshgrid(1.5 + np.arange(height) / scale, 1.5 + np.arange(width) / scale, indexing="ij")
    smooth: Floats = ndimage.map_coordinates(coarse, np.stack(at), order=3, output=np.float32)
    return smooth / np.float32(0.73)


def _to_bytes(image: Floats) -> Bytes:
    levels: Bytes = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return levels


# ---------------------------------------------------------------------------------------------------
# Electron microscopy. Neurites are ellipses that wander from section to section; each pixel belongs to
# the nearest one, and membranes are where two are equally near: a slice of a warped, weighted Voronoi field.


@dataclass(frozen=True)
class _Profiles:
    """The neurites cut at one depth: ellipses, one row each. Pixels and radians."""

    centre: Floats  # (N, 2) y, x
    axes: Floats  # (N, 2) half-lengths
    turn: Floats  # (N,)

    def distance(self, who: Ints | int, y: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        """How far places lie outside the ellipse `who` (negative inside), and this map's y and x slopes."""
        cos, sin = np.cos(self.turn)[who], np.sin(self.turn)[who]
        long, short = self.axes[who, 0], self.axes[who, 1]
        dy, dx = y - self.centre[who, 0], x - self.centre[who, 1]
        u, v = (cos * dy + sin * dx) / long, (cos * dx - sin * dy) / short
        norm = np.hypot(u, v) + np.float32(1e-6)
        mean = np.sqrt(long * short)
        along, across = mean * u / (long * norm), mean * v / (short * norm)
        return mean * (norm - 1), cos * along - sin * across, sin * along + cos * across


@dataclass(frozen=True)
class _Spots:
    """Something that some neurites hold at some depths, again and again; one row a neurite."""

    place: Floats  # (N, 2) y, x from the neurite's centre, in its radii
    depth: Floats  # (N,) of the middle of one of them, in sections
    period: Floats  # (N,) sections from one to the next
    length: Floats  # (N,) half-length in sections; 0: none

    def at(self, depth: float) -> list[tuple[int, float]]:
        """The neurites that hold one at this depth, each with how wide it is cut there: 0 to 1."""
        off = (depth - self.depth + self.period / 2) % self.period - self.period / 2
        width = np.sqrt(np.maximum(0, 1 - (off / np.maximum(self.length, 1e-6)) ** 2))
        return [(int(who), float(width[who])) for who in np.flatnonzero(width)]


@dataclass(frozen=True)
class _Neurites:
    """The neurites of a block of tissue, one row each, and the warp that bends them."""

    home: Floats  # (N, 2) y, x: the place about which one sways
    radius: Floats  # (N,) pixels
    stretch: Floats  # (N,) length over width
    turn: Floats  # (N,) radians
    sway: Floats  # (N, 3, 3) waves of y (pixels), x (pixels), size: amplitude, period in sections, phase
    tone: Floats  # (N,) grey levels above the others, inside
    wall: Floats  # (N,) thickness of the membrane, relative
    vesicles: Floats  # (N,) per pixel
    mitochondria: _Spots
    synapses: _Spots
    warp: Floats  # (2, 2, H, W) displacement y, x in pixels, at two phases

    def at(self, depth: float) -> _Profiles:
        """The cut at a depth, in sections."""
        amplitude, period, phase = self.sway[..., 0], self.sway[..., 1], self.sway[..., 2]
        waves = amplitude * np.sin(2 * np.pi * np.float32(depth) / period + phase)  # (N, 3)
        radius = self.radius * (1 + waves[:, 2])
        axes = radius[:, None] * np.stack([self.stretch**0.5, self.stretch**-0.5], axis=1)
        return _Profiles(self.home + waves[:, :2], axes, self.turn + waves[:, 2])

    def places(self, depth: float, shift: Floats) -> tuple[Floats, Floats]:
        """Where in the tissue each pixel of a section lies: y and x, (H, W)."""
        angle = depth / 5
        bent = math.cos(angle) * self.warp[0] + math.sin(angle) * self.warp[1]
        grid = np.indices(bent.shape[1:], dtype=np.float32)
        y, x = grid + bent + shift[:, None, None]
        return y, x


@dataclass(frozen=True)
class _Walls:
    """What the membranes of a section are made from; maps of (H, W)."""

    y: Floats  # where in the tissue each pixel lies
    x: Floats
    owner: Ints  # the neurite of each pixel
    distance: Floats  # pixels to the middle of the nearest membrane
    smear: Floats  # pixels by which that membrane moves from the section's top to its bottom, halved
    thickness: Floats  # of that membrane, relative


def _grow_neurites(seed: int, size: int) -> _Neurites:
    rng = np.random.default_rng((seed, _TISSUE, size))
    home, radius = _pack(rng, size)
    count = len(radius)

    def between(low: float, high: float, *shape: int) -> Floats:
        return rng.uniform(low, high, (count, *shape)).astype(np.float32)

    sway = between(0, 2 * np.pi, 3, 3)
    sway[:, :2, 0] = between(0.2, 0.75, 2) * np.sqrt(radius)[:, None] * 3.6
    sway[:, 2, 0] = between(0.05, 0.35)
    sway[..., 1] = between(12, 34, 3)
    large = radius > 17
    mitochondria = _Spots(between(-0.25, 0.25, 2), between(0, 20), between(12, 22), between(3, 7))
    mitochondria.length[~large | (between(0, 1) > 0.6)] = 0
    direction = between(0, 2 * np.pi)
    rim = np.stack([np.sin(direction), np.cos(direction)], axis=1)
    synapses = _Spots(rim, between(0, 20), between(7, 16), between(1, 2.2))
    synapses.length[between(0, 1) > 0.35] = 0
    bends = [(52.0, 9.0), (22.0, 3.0), (7.0, 0.9)]  # blobs of so many pixels, moved by so many
    warp = np.stack([sum(push * _clouds(rng, (size, size), blob) for blob, push in bends) for _ in range(4)])
    return _Neurites(
        home=home,
        radius=radius,
        stretch=1 + 1.6 * between(0, 1) ** 2,
        turn=between(0, np.pi),
        sway=sway,
        tone=rng.normal(0, 9, count).astype(np.float32) - 24 * (between(0, 1) < 0.12),
        wall=between(0.8, 1.25),
        vesicles=np.where(large, 0.007, 0.003).astype(np.float32) * between(0, 1) ** 2,
        mitochondria=mitochondria,
        synapses=synapses,
        warp=warp.reshape(2, 2, size, size).astype(np.float32),
    )


def _pack(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Discs of unlike sizes, packed over a section and some way around it: centres (N, 2), radii (N,)."""
    margin = 40
    side = size + 2 * margin
    wanted = np.sort(np.clip(rng.lognormal(2.36, 0.64, side * side // 290), 6, 48))[::-1]
    centre, radius = np.zeros((len(wanted), 2)), np.zeros(len(wanted))
    count = 0
    for one in wanted:  # large ones first, small ones into the gaps
        tries = rng.uniform(0, side, (40, 2))
        gaps = np.hypot(*(tries[:, None] - centre[:count]).T).T - radius[:count] - one  # (40, count)
        room = gaps.min(axis=1, initial=np.inf)
        if room.max() > -0.25 * one:
            centre[count], radius[count] = tries[room.argmax()], one
            count += 1
    return (centre[:count] - margin).astype(np.float32), radius[:count].astype(np.float32)


def _em_section(neurites: _Neurites, seed: int, index: int) -> tuple[Bytes, Bytes]:
    """One section and its labels, (H, W) each."""
    rng = np.random.default_rng((seed, _SECTION, index))
    shift = rng.normal(0, 1, 2).astype(np.float32)  # sections are never aligned quite well
    walls = _walls(neurites, index, *neurites.places(index, shift))
    grey = 162 + neurites.tone[walls.owner]
    grey += 8 * _clouds(rng, grey.shape, 6) + 9 * _clouds(rng, grey.shape, 2.5)
    grey -= _vesicles(rng, neurites, walls)
    _draw_mitochondria(rng, grey, neurites, index, walls)
    _draw_membranes(rng, grey, walls)
    _draw_synapses(grey, neurites, index, walls)
    drawn = walls.distance < 2.15 * walls.thickness + np.minimum(0.5 * walls.smear, 4)
    interior = _without_specks(~_without_specks(drawn, 40), 10)
    return _micrograph(rng, grey), np.where(interior, 255, 0).astype(np.uint8)


def _without_specks(mask: Flags, least: int) -> Flags:
    """The mask without its patches of fewer than `least` pixels: nobody draws those."""
    patch, _ = ndimage.label(mask)
    return (np.bincount(patch.ravel()) >= least)[patch] & mask


def _walls(neurites: _Neurites, depth: float, y: Floats, x: Floats) -> _Walls:
    here = neurites.at(depth)
    first, second = _nearest_two(here, y, x)
    near, near_y, near_x = here.distance(first, y, x)
    far, far_y, far_x = here.distance(second, y, x)
    steep_y, steep_x = far_y - near_y, far_x - near_x
    (y_down, y_right), (x_down, x_right) = np.gradient(y), np.gradient(x)  # the warp squeezes and stretches
    slope = np.hypot(steep_y * y_down + steep_x * x_down, steep_y * y_right + steep_x * x_right)
    slope = np.maximum(slope, np.float32(0.4))
    above, below = neurites.at(depth - 0.5), neurites.at(depth + 0.5)
    moved = [cut.distance(second, y, x)[0] - cut.distance(first, y, x)[0] for cut in (above, below)]
    return _Walls(
        y=y,
        x=x,
        owner=first,
        distance=(far - near) / slope,
        smear=np.abs(moved[1] - moved[0]) / (2 * slope),
        thickness=(neurites.wall[first] + neurites.wall[second]) / 2,
    )


def _nearest_two(cut: _Profiles, y: Floats, x: Floats) -> tuple[Ints, Ints]:
    """The nearest and second nearest neurite of each pixel, (H, W) each."""
    reach = 55.0  # pixels beyond a neurite within which it may be one of the two, the warp included
    best = np.full((2, *y.shape), np.inf, np.float32)
    who = np.zeros((2, *y.shape), np.int32)
    for neurite, (centre, axes) in enumerate(zip(cut.centre, cut.axes, strict=True)):
        low = np.maximum(0, centre - axes[0] - reach).astype(int)
        high = np.maximum(0, centre + axes[0] + reach).astype(int)
        window = (slice(low[0], high[0]), slice(low[1], high[1]))
        distance, _, _ = cut.distance(neurite, y[window], x[window])
        (nearest, second), (first_id, second_id) = best[:, *window], who[:, *window]
        is_first, is_second = distance < nearest, distance < second
        second[...] = np.where(is_first, nearest, np.where(is_second, distance, second))
        second_id[...] = np.where(is_first, first_id, np.where(is_second, neurite, second_id))
        nearest[is_first], first_id[is_first] = distance[is_first], neurite
    return who[0], who[1]


def _vesicles(rng: np.random.Generator, neurites: _Neurites, walls: _Walls) -> Floats:
    """How much darker vesicles, microtubules, dense cores and reticulum make each pixel."""
    margin = 8
    inside = walls.distance > 6
    chance = np.where(inside, neurites.vesicles[walls.owner], 0)
    grid = np.mgrid[-margin : margin + 1, -margin : margin + 1]
    shadow = np.zeros(np.add(inside.shape, 2 * margin), np.float32)
    for where, radius, line, dark, core in (
        (chance, 4.0, 1.2, 80.0, 0.0),  # vesicles: rings of 35 nm
        (0.007 * inside, 1.5, 1.0, 85.0, 0.4),  # microtubules, cut across
        (0.00015 * inside, 3.2, 1.5, 85.0, 1.0),  # dense cores
    ):
        for row, column in np.argwhere(rng.random(inside.shape) < where):
            spread = np.hypot(*(grid + rng.uniform(-0.5, 0.5, (2, 1, 1))))
            size = radius * rng.uniform(0.75, 1.25)
            ring = np.exp(-(((spread - size) / line) ** 2)) + core * (spread < size)
            window = shadow[row : row + 2 * margin + 1, column : column + 2 * margin + 1]
            np.maximum(window, dark * rng.uniform(0.4, 1) * np.minimum(ring, 1), out=window)
    ends = 1 / (1 + np.exp(-6 * (_clouds(rng, inside.shape, 30) - 0.9)))
    reticulum = 42 * np.exp(-((_clouds(rng, inside.shape, 15) / 0.13) ** 2)) * ends
    return shadow[margin:-margin, margin:-margin] + np.where(inside, reticulum, 0)


def _draw_mitochondria(
    rng: np.random.Generator, grey: Floats, neurites: _Neurites, depth: float, walls: _Walls
) -> None:
    """Dark bodies with a membrane of their own and pale, wavy cristae; they keep clear of the cell's wall."""
    cut = neurites.at(depth)
    wobble = 2.6 * _clouds(rng, grey.shape, 16)
    for who, width in neurites.mitochondria.at(depth):
        radius = float(neurites.radius[who])
        centre = cut.centre[who] + radius * neurites.mitochondria.place[who]
        dy, dx = walls.y - centre[0], walls.x - centre[1]
        cos, sin = math.cos(cut.turn[who]), math.sin(cut.turn[who])
        u, v = cos * dy + sin * dx, cos * dx - sin * dy
        long = width * min(max(0.75 * radius, 13), 34)
        short = 0.66 * long
        deep = (1 - np.hypot(u / long, v / short)) * short  # pixels inside its outline
        deep = np.where(walls.owner == who, np.minimum(deep, walls.distance - 6), -9)
        body = 1 / (1 + np.exp(-np.clip(deep / 0.7, -30, 30)))
        stripes = np.sin(2 * np.pi * (u + 0.15 * v + wobble) / 7.5)
        inner = -52 + 30 * stripes * np.clip((deep - 2.5) / 2, 0, 1)
        outline = -45 * np.exp(-(((deep - 1) / 1.4) ** 2))
        grey += body * inner + outline


def _draw_membranes(rng: np.random.Generator, grey: Floats, walls: _Walls) -> None:
    """Dark lines; where a membrane stands oblique in the section it is spread out, and paler."""
    width = 2.0 * walls.thickness * (1 + 0.12 * _clouds(rng, grey.shape, 12))
    spread = np.sqrt(width**2 + walls.smear**2 / 3)
    dark = (0.95 + 0.1 * _clouds(rng, grey.shape, 25)) * np.sqrt(width / spread)
    share = np.clip(dark, 0, 1) * np.exp(-0.5 * (walls.distance / spread) ** 2)
    grey += share * (48 - grey)


def _draw_synapses(grey: Floats, neurites: _Neurites, depth: float, walls: _Walls) -> None:
    """Dark clouds on a membrane, where one neurite speaks to another."""
    cut = neurites.at(depth)
    for who, width in neurites.synapses.at(depth):
        place = cut.centre[who] + neurites.synapses.place[who] * cut.axes[who].mean()
        wide = width * min(4 + 0.2 * float(neurites.radius[who]), 9)
        cloud = np.exp(-0.5 * ((walls.y - place[0]) ** 2 + (walls.x - place[1]) ** 2) / wide**2)
        grey += 0.7 * cloud * (45 - grey)


def _micrograph(rng: np.random.Generator, grey: Floats) -> Bytes:
    """What the microscope makes of a section: blur, grain, uneven light, a contrast of its own."""
    height, width = grey.shape
    sharp = ndimage.gaussian_filter(grey, rng.uniform(0.7, 1.0))
    grain = 38 * ndimage.gaussian_filter(rng.standard_normal(grey.shape, dtype=np.float32), 0.72)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 6 * _clouds(rng, (height, width), height / 2) + rng.normal(0, 5) * y + rng.normal(0, 5) * x
    level, contrast = rng.normal(0, 8), rng.normal(1.05, 0.09)
    exposed = 132 + level + contrast * (sharp + grain + light - 132)
    return _to_bytes(exposed)


# ---------------------------------------------------------------------------------------------------
# Blood smears. Cells absorb light: each adds its optical density to the picture, so that overlaps are dark.


@dataclass(frozen=True)
class _Stain:
    """How one slide was made and photographed."""

    light: Floats  # (3,) of the empty slide, 0 to 255
    red: Floats  # (3,) optical density of a red cell's rim
    radius: float  # of a usual red cell, pixels
    pallor: float  # how pale the centres are, 0 to 1
    spiky: float  # share of shrunken cells with a spiky outline
    odd: float  # how far shapes are from round
    cover: float  # share of the picture under cells
    sticky: float  # share of cells that lie against another


@dataclass(frozen=True)
class _Cell:
    """A cell on the slide. Pixels and radians."""

    y: float
    x: float
    radius: float
    white: bool
    waves: Floats  # (K, 3) of the outline: count around, share of the radius, phase
    family: int  # cells of one family are not parted in the mask


def _blood_smear(rng: np.random.Generator, height: int, width: int) -> tuple[Bytes, Bytes]:
    """One image (height, width, 3) and its mask (height, width), 255 where a cell is."""
    stain = _choose_stain(rng)
    cells = _spread_cells(rng, stain, height, width)
    density = np.zeros((height, width, 3), np.float32)
    nearest = np.ones((height, width), np.float32)  # of all cells, place in the cell: 0 middle, 1 rim
    family = np.full((height, width), -1, np.int32)
    for cell in cells:
        window, place, y, x = _lay(cell, height, width)
        if cell.white:
            density[window] += _white_cell(rng, place, y, x, cell)
        else:
            density[window] += _red_cell(rng, place, y, x, cell, stain)
        closer = place < nearest[window]
        nearest[window][closer], family[window][closer] = place[closer], cell.family
    _add_dirt(rng, density)
    return _photograph(rng, density, stain), _part(family)


def _choose_stain(rng: np.random.Generator) -> _Stain:
    blue, violet, plum, teal = (1.0, 0.93, 0.6), (0.8, 1.0, 0.34), (0.72, 1.08, 0.62), (1.05, 0.9, 0.72)
    mix = rng.dirichlet(np.full(4, 0.35)) @ np.array([blue, violet, plum, teal])
    faint = rng.random() < 0.08
    strength = rng.uniform(0.2, 0.3) if faint else rng.uniform(0.55, 1.25)
    bright = rng.uniform(150, 190) if faint else rng.uniform(215, 252)
    return _Stain(
        light=np.asarray(bright * rng.uniform([0.97, 0.98, 0.95], [1.0, 1.02, 1.02]), np.float32),
        red=np.asarray(strength * mix, np.float32),
        radius=rng.uniform(11.5, 14.5),
        pallor=rng.uniform(0.5, 1.05),
        spiky=max(0.0, rng.uniform(-0.4, 0.6)),
        odd=rng.uniform(0.02, 0.065),
        cover=float(np.clip(rng.normal(0.31, 0.11), 0.12, 0.55)),
        sticky=rng.uniform(0.2, 0.7),
    )


def _spread_cells(rng: np.random.Generator, stain: _Stain, height: int, width: int) -> list[_Cell]:
    """Cells over a slide, some alone, some in clumps, until about the wanted share of it is covered."""
    border = stain.radius  # cells cut by the frame are part of the picture
    wanted = stain.cover * (height + 2 * border) * (width + 2 * border)
    cells: list[_Cell] = []
    area = 0.0
    for _ in range(round(6 * wanted / stain.radius**2)):  # a bound, since a full slide has no room
        cell = _new_cell(rng, stain)
        beside = cells[rng.integers(len(cells))] if cells and rng.random() < stain.sticky else None
        if beside:
            angle, gap = rng.uniform(0, 2 * np.pi), (cell.radius + beside.radius) * rng.uniform(0.72, 1.04)
            y, x = beside.y + gap * math.sin(angle), beside.x + gap * math.cos(angle)
        else:
            y, x = rng.uniform((-border, -border), (height + border, width + border))
        inside = -border < y < height + border and -border < x < width + border
        close = 0.7 if beside else 1.02
        if inside and all(math.hypot(y - o.y, x - o.x) > close * (cell.radius + o.radius) for o in cells):
            merged = beside and not (cell.white or beside.white) and rng.random() < 0.12
            cells.append(replace(cell, y=y, x=x, family=beside.family if beside and merged else len(cells)))
            area += np.pi * cell.radius**2
        if area > wanted:
            break
    return cells


def _new_cell(rng: np.random.Generator, stain: _Stain) -> _Cell:
    """A cell of some size and shape, not yet laid anywhere."""
    white = rng.random() < 0.025
    radius = stain.radius * (rng.uniform(1.35, 1.7) if white else rng.normal(1, 0.09))
    odd = stain.odd * (0.5 if white else 1)
    waves = [(k, odd * rng.normal() / (k - 1), rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    if not white and rng.random() < 0.06:  # drawn out to a drop by the smearing
        waves[0], waves[1] = (2, 0.15, waves[0][2]), (3, 0.07, 1.5 * waves[0][2])
    if not white and rng.random() < stain.spiky:
        waves.append((int(rng.integers(11, 17)), rng.uniform(0.04, 0.07), rng.uniform(0, 2 * np.pi)))
        radius *= 0.88
    return _Cell(0, 0, radius, white, np.array(waves, np.float32), family=-1)


def _lay(cell: _Cell, height: int, width: int) -> tuple[tuple[slice, slice], Floats, Floats, Floats]:
    """A cell's window, each pixel's place in it (0 middle, 1 rim), and y, x from its middle in radii."""
    reach = 1.6 * cell.radius
    rows = slice(max(0, int(cell.y - reach)), min(height, math.ceil(cell.y + reach)))
    columns = slice(max(0, int(cell.x - reach)), min(width, math.ceil(cell.x + reach)))
    grid = np.mgrid[rows, columns]
    y, x = (grid[0] - cell.y) / cell.radius, (grid[1] - cell.x) / cell.radius
    angle = np.arctan2(y, x)
    rim = np.ones_like(angle)
    for count, share, phase in cell.waves:
        rim += share * np.cos(count * angle + phase)
    return (rows, columns), np.hypot(y, x) / rim, y, x


def _inside(place: Floats, radius: float, blur: float = 0.7) -> Floats:
    """1 inside the rim, 0 outside, with an edge `blur` pixels soft."""
    share: Floats = 1 / (1 + np.exp(np.clip((place - 1) * radius / blur, -30, 30)))
    return share


def _red_cell(rng: np.random.Generator, place: Floats, y: Floats, x: Floats, cell: _Cell, stain: _Stain) -> Floats:
    """Optical density (h, w, 3) of a disc with a pale hollow; now and then a parasite is inside."""
    spiky = len(cell.waves) > 4
    angle, off = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.1, 2)
    dy, dx = y - off[0], x - off[1]
    u, v = math.cos(angle) * dy + math.sin(angle) * dx, math.cos(angle) * dx - math.sin(angle) * dy
    wide, narrow = rng.uniform(0.4, 0.62), rng.choice([1.0, 0.45], p=[0.8, 0.2])  # round, or a slit
    hollow = np.exp(-(((u / wide) ** 2 + (v / (wide * narrow)) ** 2) ** 1.3))
    pallor = stain.pallor * rng.uniform(0.45, 1.15) * (0.5 if spiky else 1)
    thick = 1 - np.clip(pallor, 0, 0.93) * hollow + 0.12 * np.exp(-(((place - 0.88) / 0.1) ** 2))
    thick *= 1 + rng.normal(0, 0.15) * u
    if spiky:
        thick *= 1.2 + 0.17 * _clouds(rng, place.shape, 4)
    halo = 0.06 * np.exp(-(((place - 1.14) / 0.07) ** 2))  # a little light is bent to the outside
    thick = thick * _inside(place, cell.radius) * rng.normal(1, 0.12) - halo
    density: Floats = thick[..., None] * stain.red
    if rng.random() < 0.015:
        density += _purple(np.hypot(u + 0.25, v - 0.1), 0.22, cell.radius)
    return density


def _white_cell(rng: np.random.Generator, place: Floats, y: Floats, x: Floats, cell: _Cell) -> Floats:
    """Optical density (h, w, 3) of a large cell with a lobed, dark nucleus in pale, grainy plasma."""
    body = _inside(place, cell.radius)
    plasma = (0.3 + 0.06 * _clouds(rng, place.shape, 2.5)) * body
    lobes = int(rng.integers(1, 5))
    turn, size = rng.uniform(0, 2 * np.pi), 0.62 / lobes**0.4
    ring = 0.0 if lobes == 1 else 0.42
    angles = turn + np.linspace(0, 1.25 * np.pi, lobes) * rng.uniform(0.8, 1.2)
    away = np.min([np.hypot(y - ring * math.sin(a), x - ring * math.cos(a)) for a in angles], axis=0)
    nucleus = _purple(away + 0.05 * _clouds(rng, place.shape, 4), size, cell.radius)
    density: Floats = plasma[..., None] * np.array([0.55, 1.0, 0.35], np.float32) + nucleus * body[..., None]
    return density


def _purple(away: Floats, size: float, scale: float) -> Floats:
    """Optical density (h, w, 3) of stained chromatin, in a disc of `size` about where `away` is 0."""
    return _inside(away / size, size * scale)[..., None] * np.array([0.95, 1.55, 0.6], np.float32)


def _add_dirt(rng: np.random.Generator, density: Floats) -> None:
    """Platelets, specks of stain and the pale smudges of burst cells. None of them is a cell in the mask."""
    height, width, _ = density.shape
    kinds = [("platelet", 14)] * rng.poisson(3) + [("speck", 10)] * rng.poisson(14)
    for kind, reach in kinds + [("smudge", 90)] * rng.poisson(0.35):
        at_y, at_x = rng.uniform((0, 0), (height, width))
        rows = slice(max(0, int(at_y) - reach), min(height, int(at_y) + reach))
        columns = slice(max(0, int(at_x) - reach), min(width, int(at_x) + reach))
        y, x = np.ogrid[rows, columns]
        away = np.hypot(y - at_y, (x - at_x) * rng.uniform(0.7, 1.4)).astype(np.float32)
        spot = density[rows, columns]
        if kind == "platelet":
            spot += rng.uniform(0.3, 0.75) * _purple(away, rng.uniform(1.5, 3.2), 1.0)
        elif kind == "speck":
            spot += rng.uniform(0.03, 0.2) * np.exp(-((away / rng.uniform(0.6, 1.4)) ** 2))[..., None]
        else:
            ghost = np.exp(-((away / rng.uniform(18, 34)) ** 4))
            ghost *= 0.12 + 0.04 * _clouds(rng, ghost.shape, 9)
            spot += ghost[..., None] * np.array([0.3, 1.0, 0.35], np.float32)


def _photograph(rng: np.random.Generator, density: Floats, stain: _Stain) -> Bytes:
    """Light through the slide onto a sensor: uneven stain, uneven lamp, blur, noise."""
    height, width, _ = density.shape
    uneven = 1 + 0.08 * _clouds(rng, (height, width), height / 2)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lamp = 1 - 0.05 * (y**2 + x**2) + rng.normal(0, 0.03) * y + rng.normal(0, 0.03) * x
    veil = 0.01 * _clouds(rng, (height, width), 6) + 0.01 * _clouds(rng, (height, width), 40)
    light = stain.light * lamp[..., None] * np.exp(-uneven[..., None] * density - veil[..., None])
    blur = rng.uniform(0.4, 0.95)
    sharp = ndimage.gaussian_filter(light, (blur, blur, 0))
    noise = rng.uniform(0.8, 3.0) * rng.standard_normal(light.shape, dtype=np.float32)
    return _to_bytes(sharp + noise)


def _part(family: Ints) -> Bytes:
    """A mask, 255 where a family is, with a line of background one pixel thin between unlike ones."""
    padded = np.pad(family, 1, mode="edge")
    here = padded[1:-1, 1:-1]
    # Of any two pixels that touch, one has the other to its right or below it.
    others = (padded[1:-1, 2:], padded[2:, 1:-1], padded[2:, 2:], padded[2:, :-2])
    parted = np.any([(other != here) & (other >= 0) for other in others], axis=0)
    return np.where((here >= 0) & ~parted, 255, 0).astype(np.uint8)
