"""Phantom electron microscopy: neurites are ellipses that wander from section to section.

Each pixel belongs to the nearest one, and membranes are where two are equally near: a slice of a warped, weighted
Voronoi field.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lamella.data.datasets.phantom_texture import Bytes, Flags, Floats, Ints, clouds, to_bytes

# Streams of random numbers, so that one kind of thing cannot shift another.
_TISSUE, _SECTION = range(2)


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
class Neurites:
    """The made-up neurites of a block of tissue, one row each, and the warp that bends them."""

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
        """The outlines of all neurites in the section at a depth, counted in sections."""
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


def grow_neurites(seed: int, size: int) -> Neurites:
    """The neurites of a phantom block of `size` x `size` pixels a section."""
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
    warp = np.stack([sum(push * clouds(rng, (size, size), blob) for blob, push in bends) for _ in range(4)])
    return Neurites(
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


def section(neurites: Neurites, seed: int, index: int) -> tuple[Bytes, Bytes]:
    """The image and the labels of one section, both (H, W) uint8; 0 is membrane, 255 interior."""
    rng = np.random.default_rng((seed, _SECTION, index))
    shift = rng.normal(0, 1, 2).astype(np.float32)  # sections are never aligned quite well
    walls = _walls(neurites, index, *neurites.places(index, shift))
    grey = 162 + neurites.tone[walls.owner]
    grey += 8 * clouds(rng, grey.shape, 6) + 9 * clouds(rng, grey.shape, 2.5)
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


def _walls(neurites: Neurites, depth: float, y: Floats, x: Floats) -> _Walls:
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
    smear, thickness = np.abs(moved[1] - moved[0]) / (2 * slope), (neurites.wall[first] + neurites.wall[second]) / 2
    return _Walls(y, x, owner=first, distance=(far - near) / slope, smear=smear, thickness=thickness)


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


def _vesicles(rng: np.random.Generator, neurites: Neurites, walls: _Walls) -> Floats:
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
    ends = 1 / (1 + np.exp(-6 * (clouds(rng, inside.shape, 30) - 0.9)))
    reticulum = 42 * np.exp(-((clouds(rng, inside.shape, 15) / 0.13) ** 2)) * ends
    return shadow[margin:-margin, margin:-margin] + np.where(inside, reticulum, 0)


def _draw_mitochondria(rng: np.random.Generator, grey: Floats, neurites: Neurites, depth: float, walls: _Walls) -> None:
    """Dark bodies with a membrane of their own and pale, wavy cristae; they keep clear of the cell's wall."""
    cut = neurites.at(depth)
    wobble = 2.6 * clouds(rng, grey.shape, 16)
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
    width = 2.0 * walls.thickness * (1 + 0.12 * clouds(rng, grey.shape, 12))
    spread = np.sqrt(width**2 + walls.smear**2 / 3)
    dark = (0.95 + 0.1 * clouds(rng, grey.shape, 25)) * np.sqrt(width / spread)
    share = np.clip(dark, 0, 1) * np.exp(-0.5 * (walls.distance / spread) ** 2)
    grey += share * (48 - grey)


def _draw_synapses(grey: Floats, neurites: Neurites, depth: float, walls: _Walls) -> None:
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
    light = 6 * clouds(rng, (height, width), height / 2) + rng.normal(0, 5) * y + rng.normal(0, 5) * x
    level, contrast = rng.normal(0, 8), rng.normal(1.05, 0.09)
    exposed = 132 + level + contrast * (sharp + grain + light - 132)
    return to_bytes(exposed)
