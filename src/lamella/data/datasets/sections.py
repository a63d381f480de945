"""Which images are neighbouring sections, or frames: numbered files that are alike from one to the next."""

import base64
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from lamella.data.cache.facts import Facts
from lamella.data.datasets.meaning.held import threads
from lamella.data.io.decode import blocks
from lamella.data.types import ImageRef, Sample
from lamella.errors import DataError

_VERSION = 1  # counts up when a pattern means something else, so that remembered ones are not believed
_LEAST = 4  # numbered files from which on it can be told whether they are alike
_LOOKS = 24  # pairs of neighbours that are looked at, evenly spread, and as many pairs further apart
_SEEN = 1024  # rows and columns of an image that are looked at, evenly spread
_SIDE = 64  # of a picture that is compared, in cells

# Cells pooled, blur, least correlation. Neighbouring sections of real neuropil reach 0.52 and 0.66 in the median at the
# coarser scales, where others of one stack, blood smears and noise stay near 0. The finest, without regard to what is
# far apart, is for frames of one scene; uneven light and dust on a lens stay below 0.3 there.
_SCALES = ((2, 4.0, 0.2), (4, 4.0, 0.2), (1, 2.0, 0.6))

Pattern = npt.NDArray[np.float32]


def in_stacks(samples: Sequence[Sample], serial: bool | None, facts: Facts) -> tuple[list[Sample], tuple[str, ...]]:
    """The samples, those of single numbered files that are alike put into stacks, and a sentence for each stack.

    Args:
        samples: pages of a stack are in it already, and stay.
        serial: True: numbered files are stacks, whatever they look like; False: none is.
        facts: remembers what images look like.
    """
    singles = [sample for sample in samples if not sample.stack]
    if serial is False or (serial is None and len(singles) < _LEAST):
        return list(samples), ()
    placed: dict[str, Sample] = {}
    found: list[list[Sample]] = []
    for name, numbers in _runs(singles, 2 if serial else _LEAST):
        run = {id_: number for id_, number in numbers.items() if id_ not in placed}
        if len(run) < (2 if serial else _LEAST):
            continue
        members = sorted((s for s in singles if s.id in run), key=lambda s: run[s.id])
        if serial is None and not _alike([s.image for s in members], facts):
            continue
        first, step = run[members[0].id], _step([run[s.id] for s in members])
        for s in members:
            place = (run[s.id] - first) // step
            placed[s.id] = replace(s, stack=name, place=place, group=name if s.group == s.id else s.group)
        found.append(members)
    return [placed.get(s.id, s) for s in samples], _told(found) if serial is None else ()


def _told(stacks: Sequence[Sequence[Sample]]) -> tuple[str, ...]:
    """A sentence on the stacks that were found."""
    if not stacks:
        return ()
    count, first = sum(map(len, stacks)), stacks[0]
    which = f"{first[0].id} to {first[-1].id}"
    taken = f"{which}: taken as one stack" if len(stacks) == 1 else f"such as {which}: taken as {len(stacks)} stacks"
    return (
        f"{count} numbered files are alike from one to the next, {taken}; `dataset.serial=false` if they are unrelated",
    )


def _runs(samples: Sequence[Sample], least: int) -> list[tuple[str, dict[str, int]]]:
    """Files whose names differ in one number alone: a name for them, and the number by id; the longest first.

    The number may be that of a folder which an image has for itself, `z012/image`, and may stand in a name several
    times, `z012/image_012`.
    """
    inside = Counter(sample.image.path.parent for sample in samples)
    runs: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    for sample in samples:
        folder = str(sample.image.path.parent)
        own = inside[sample.image.path.parent] == 1
        numbers = list(re.finditer(r"\d+", sample.id))
        for number in numbers:
            around = sample.id[: number.start()], sample.id[number.end() :]
            where = "" if own and "/" in around[1] else folder
            runs[(where, sample.part, *around)][sample.id] = int(number[0])
        for value in {n for n, times in Counter(int(number[0]) for number in numbers).items() if times > 1}:
            begin, *rest = re.split(rf"(?<!\d)0*{value}(?!\d)", sample.id)
            where = "" if own and "/" in "".join(rest) else folder
            runs[(where, sample.part, begin, "#".join(rest))][sample.id] = value
    found = [
        (key, run)
        for key, run in runs.items()
        if len(run) >= least and len(set(run.values())) == len(run) and _even(list(run.values()))
    ]
    found.sort(key=lambda each: (-len(each[1]), each[0]))
    names = Counter(_name(key) for key, _ in found)
    return [(_name(key) if names[_name(key)] == 1 else f"{key[2]}#{key[3]}", run) for key, run in found]


def _name(key: tuple[str, ...]) -> str:
    """What a run of files is called: what their names have in common."""
    return (key[2] + key[3]).strip(" _-./") or "sections"


def _step(numbers: Sequence[int]) -> int:
    """How far neighbours' numbers are apart."""
    return math.gcd(*(b - a for a, b in pairwise(sorted(numbers)))) or 1


def _even(numbers: list[int]) -> bool:
    """Whether most numbers follow on each other at one distance."""
    steps = Counter(b - a for a, b in pairwise(sorted(numbers)))
    return steps.most_common(1)[0][1] >= len(numbers) / 2


def _alike(images: Sequence[ImageRef], facts: Facts) -> bool:
    """Whether images in a row are alike from one to the next, and less so far apart; or one scene all along."""
    gaps = len(images) - 1
    starts = sorted({round(n * (gaps - 1) / max(1, min(_LOOKS, gaps) - 1)) for n in range(min(_LOOKS, gaps))})
    looked = sorted({place for start in starts for place in (start, start + 1)})
    cells = dict(zip(looked, threads(lambda place: _seen(images[place], facts), looked), strict=True))
    places = [place for place in looked if cells[place] is not None]
    if len(places) < _LEAST:
        return False
    apart = np.abs(np.subtract.outer(places, places))
    for pooled, blur, least in _SCALES:
        pattern = np.stack([_pattern(grid, pooled, blur) for grid in cells.values() if grid is not None])
        likeness = pattern @ pattern.T
        near, far = likeness[np.triu(apart == 1)], likeness[np.triu(apart >= max(2, len(images) // 2))]
        if len(near) < _LEAST - 1:
            return False
        beyond = 0.0 if pooled == 1 else float(np.median(far))
        if np.median(near) - beyond >= max(least, 3 * float(far.std()) if pooled > 1 else 0):
            return True
    return False


def _seen(ref: ImageRef, facts: Facts) -> Pattern | None:
    """An image as (_SIDE, _SIDE) cells of mean 0 and deviation 1; None where it cannot be read."""

    def look() -> str:
        rows = []
        for block in blocks(ref):
            step = [max(1, n // _SEEN) for n in (block.height, block.pixels.shape[1])]
            some = np.asarray(block.pixels[-block.top % step[0] :: step[0], :: step[1]], np.float32)
            rows.append(some.mean(axis=-1) if some.ndim == 3 else some)
        grey = np.nan_to_num(np.concatenate(rows), posinf=0, neginf=0)
        cells = np.asarray(Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
        spread = cells.std()
        even = (cells - cells.mean()) / spread if spread > 0 else np.zeros_like(cells)
        return base64.b64encode(even.astype(np.float16).tobytes()).decode()

    try:
        text = facts.recall(f"seen {_VERSION} {facts.source(ref)}", look)
    except DataError:
        return None
    return np.frombuffer(base64.b64decode(text), np.float16).reshape(_SIDE, _SIDE).astype(np.float32)


def _pattern(cells: Pattern, pooled: int, blur: float) -> Pattern:
    """What stands out from its surroundings, of length 1: cells, pooled, without what is coarser than `blur`."""
    side = _SIDE // pooled
    small = cells.reshape(side, pooled, side, pooled).mean(axis=(1, 3))
    fine = small - ndimage.gaussian_filter(small, blur)
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    return np.asarray(fine.ravel() / length if length > 1e-6 else fine.ravel() * 0, np.float32)
