"""Phantom blood smears: each cell adds its optical density to the picture, so that overlaps are dark."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lamella.data.datasets.phantom_texture import Bytes, Floats, Ints, clouds, to_bytes


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


def blood_smear(rng: np.random.Generator, height: int, width: int) -> tuple[Bytes, Bytes]:
    """One phantom smear: image (H, W, 3) and mask (H, W), 255 where a cell is; both uint8."""
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
        thick *= 1.2 + 0.17 * clouds(rng, place.shape, 4)
    halo = 0.06 * np.exp(-(((place - 1.14) / 0.07) ** 2))  # a little light is bent to the outside
    thick = thick * _inside(place, cell.radius) * rng.normal(1, 0.12) - halo
    density: Floats = thick[..., None] * stain.red
    if rng.random() < 0.015:
        density += _purple(np.hypot(u + 0.25, v - 0.1), 0.22, cell.radius)
    return density


def _white_cell(rng: np.random.Generator, place: Floats, y: Floats, x: Floats, cell: _Cell) -> Floats:
    """Optical density (h, w, 3) of a large cell with a lobed, dark nucleus in pale, grainy plasma."""
    body = _inside(place, cell.radius)
    plasma = (0.3 + 0.06 * clouds(rng, place.shape, 2.5)) * body
    lobes = int(rng.integers(1, 5))
    turn, size = rng.uniform(0, 2 * np.pi), 0.62 / lobes**0.4
    ring = 0.0 if lobes == 1 else 0.42
    angles = turn + np.linspace(0, 1.25 * np.pi, lobes) * rng.uniform(0.8, 1.2)
    away = np.min([np.hypot(y - ring * math.sin(a), x - ring * math.cos(a)) for a in angles], axis=0)
    nucleus = _purple(away + 0.05 * clouds(rng, place.shape, 4), size, cell.radius)
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
            ghost *= 0.12 + 0.04 * clouds(rng, ghost.shape, 9)
            spot += ghost[..., None] * np.array([0.3, 1.0, 0.35], np.float32)


def _photograph(rng: np.random.Generator, density: Floats, stain: _Stain) -> Bytes:
    """Light through the slide onto a sensor: uneven stain, uneven lamp, blur, noise."""
    height, width, _ = density.shape
    uneven = 1 + 0.08 * clouds(rng, (height, width), height / 2)
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lamp = 1 - 0.05 * (y**2 + x**2) + rng.normal(0, 0.03) * y + rng.normal(0, 0.03) * x
    veil = 0.01 * clouds(rng, (height, width), 6) + 0.01 * clouds(rng, (height, width), 40)
    light = stain.light * lamp[..., None] * np.exp(-uneven[..., None] * density - veil[..., None])
    blur = rng.uniform(0.4, 0.95)
    sharp = ndimage.gaussian_filter(light, (blur, blur, 0))
    noise = rng.uniform(0.8, 3.0) * rng.standard_normal(light.shape, dtype=np.float32)
    return to_bytes(sharp + noise)


def _part(family: Ints) -> Bytes:
    """A mask, 255 where a family is, with a line of background one pixel thin between unlike ones."""
    padded = np.pad(family, 1, mode="edge")
    here = padded[1:-1, 1:-1]
    # Of any two pixels that touch, one has the other to its right or below it.
    others = (padded[1:-1, 2:], padded[2:, 1:-1], padded[2:, 2:], padded[2:, :-2])
    parted = np.any([(other != here) & (other >= 0) for other in others], axis=0)
    return np.where((here >= 0) & ~parted, 255, 0).astype(np.uint8)
