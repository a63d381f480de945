"""Pictures of any size through networks, tile by tile and some rows at a time: logits, probabilities, classes.

A picture gets its context of zeros, is continued to sides that the networks can compute with, and is cut into
overlapping tiles. Rows come in from top to bottom, no more of them are kept than a tile is high, and those that no
later tile changes go out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lamella.models.contract import pad_to_multiple

Views = tuple[tuple[int, bool], ...]
VIEWS: Views = tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True))
"""The eight ways to lay an image: quarter turns, then mirrored or not."""

_AT_ONCE = 2**20  # pixels of the tiles that go through a network together, one tile at least


class Member(NamedTuple):
    """One network of those whose probabilities are averaged.

    Attributes:
        grey: levels (B, C, h, w) as stored -> float32 of the same shape, 0 where there is no picture.
        normalise: that -> what the network takes, pixel by pixel.
        network: float32 (B, C, h, w), any size -> logits (B, K, h, w).
    """

    grey: Callable[[torch.Tensor], torch.Tensor]
    normalise: Callable[[torch.Tensor], torch.Tensor]
    network: Callable[[torch.Tensor], torch.Tensor]


class Tiling(NamedTuple):
    """How a picture is cut.

    Attributes:
        tile: the largest side of a tile.
        overlap: pixels that neighbouring tiles share at least.
        margin: how many of them, at the edge of a tile, weigh nothing.
        stride: tiles begin at multiples of it.
        multiple: the picture is continued below and to the right until it divides both sides.
        least: and until they reach it.
        context: zeros around the picture, on each side.
    """

    tile: int
    overlap: int
    margin: int
    stride: int = 1
    multiple: int = 1
    least: int = 1
    context: int = 0


class Span(NamedTuple):
    """A tile along one side of a picture.

    Attributes:
        start: the first pixel.
        stop: the one behind the last.
        first: the first one that weighs something.
        last: the one behind the last that does.
    """

    start: int
    stop: int
    first: int
    last: int


def predict(
    members: Sequence[Member], image: torch.Tensor, size: tuple[int, int], tiling: Tiling, *, tta: bool
) -> torch.Tensor:
    """Class probabilities float32 (1, K', *size) of one image (1, C, h, w) as stored; see `stream`."""
    bands = stream(members, [image[0]], (image.shape[-2], image.shape[-1]), size, tiling, tta=tta)
    first = next(bands)
    if first.shape[1] == size[0]:
        return first[None]
    whole = first.new_empty((len(first), *size))
    top = 0
    while True:
        whole[:, top : top + first.shape[1]] = first
        top += first.shape[1]
        if top == size[0]:
            return whole[None]
        first = next(bands)


def stream(
    members: Sequence[Member],
    rows: Iterable[torch.Tensor],
    size: tuple[int, int],
    wanted: tuple[int, int],
    tiling: Tiling,
    *,
    tta: bool,
    spread: bool = False,
) -> Iterator[torch.Tensor]:
    """Class probabilities of a picture, some rows at a time, averaged over views and networks.

    Args:
        members: the networks.
        rows: of the picture, (C, n, w) as stored, from top to bottom, asked for when they are needed.
        size: (h, w) of the picture.
        wanted: (H, W) of the probabilities, which are interpolated where it differs from `size`.
        tiling: how it is cut.
        tta: average over the eight flips and quarter turns, tile by tile.
        spread: one more channel: the standard deviation, over all views and networks, of the foreground's (or the
            likeliest class's) probability.

    Returns:
        float32 (K', n, W), from top to bottom: K' = 1, the foreground's probability, for one logit; else K, summing
        to 1.
    """
    bands = _tiled(members, rows, size, tiling, VIEWS if tta else VIEWS[:1], spread)
    return bands if size == wanted else _enlarged(bands, size, wanted)


def to_probability(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K, h, w) -> float32 probabilities: sigmoid for one logit, else softmax over K."""
    logits = logits.float()
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def classes(probability: torch.Tensor, threshold: float) -> torch.Tensor:
    """Class ids uint8 (B, H, W): above the threshold for one foreground channel, else the likeliest class."""
    if probability.shape[1] == 1:
        return (probability[:, 0] > threshold).to(torch.uint8)
    return probability.argmax(dim=1).to(torch.uint8)


def spans(length: int, tiling: Tiling) -> list[Span]:
    """The tiles along a side: as few as its overlap allows, none larger than it takes, evenly spread.

    All begin at multiples of the stride. A tile has at least two of them, so that its end can be continued by
    reflection as the picture's is, and one more than it shares.
    """
    stride = tiling.stride
    all_, shared, least = (-(-each // stride) for each in (length, tiling.overlap, tiling.least))
    least = max(2, least, shared + 1)
    tile = max(least, tiling.tile // stride)
    if length <= tiling.tile or all_ <= tile:
        return [Span(0, length, 0, length)]
    more = -(-(all_ - tile) // (tile - shared))  # than one
    tile = max(least, -(-(all_ + more * shared) // (more + 1)))
    found = []
    for number in range(more + 1):
        start = number * (all_ - tile) // more * stride
        stop, cut = min(start + tile * stride, length), number < more
        found.append(Span(start, stop, start + tiling.margin * (number > 0), stop - tiling.margin * cut))
    return found


def weights(side: Sequence[Span], tiling: Tiling, device: torch.device) -> list[torch.Tensor]:
    """How much each pixel of each tile counts, from `first` to `last`: of all tiles at one place together 1.

    A tile's own part falls linearly towards an end where the picture goes on beyond it. Near such an end the network
    lacks context, so the margin weighs nothing: one that looks no further than that predicts the same whatever the
    tiles.
    """
    length = side[-1].stop
    total, parts = torch.zeros(length, device=device), []
    for span in side:
        place = torch.arange(span.start, span.stop, device=device, dtype=torch.float32)
        far = torch.full_like(place, torch.inf)
        before = place - (span.start - 1) if span.start > 0 else far
        after = span.stop - place if span.stop < length else far
        ramp = tiling.overlap - 2 * tiling.margin + 1
        weight = ((torch.minimum(before, after) - tiling.margin) / ramp).clamp(0, 1)
        parts.append(weight[span.first - span.start : span.last - span.start])
        total[span.first : span.last] += parts[-1]
    return [part / total[span.first : span.last] for part, span in zip(parts, side, strict=True)]


def _tiled(
    members: Sequence[Member],
    rows: Iterable[torch.Tensor],
    size: tuple[int, int],
    tiling: Tiling,
    views: Views,
    spread: bool,
) -> Iterator[torch.Tensor]:
    """Probabilities (K', n, w), tiles blended into each other."""
    height, width = (side + 2 * tiling.context for side in size)
    full = [max(-(-side // tiling.multiple) * tiling.multiple, tiling.least) for side in (height, width)]
    down, across = (spans(side, tiling) for side in full)
    source, top, left = _Rows(rows), tiling.context, tiling.context
    row_weights: list[torch.Tensor] = []
    column_weights: list[torch.Tensor] = []
    done, above = 0, None  # rows that went out, and those that the next tiles share
    for number, band in enumerate(down):
        levels = source.take(*_within(band, top, size[0]))
        ahead = down[number + 1].first if number + 1 < len(down) else full[0]
        summed: torch.Tensor | None = None
        for some in _batches(across, band):
            parts = []
            for member in members:
                tiles = [_cut(member, levels, band, span, size, tiling) for span in some]
                parts.append(torch.cat(tiles) if len(tiles) > 1 else tiles[0])
            found = _averaged(members, parts, views, spread)
            if summed is None:
                row_weights = row_weights or weights(down, tiling, found.device)
                column_weights = column_weights or weights(across, tiling, found.device)
                summed = found.new_zeros((found.shape[1], band.last - done, full[1]))
                if above is not None:
                    summed[:, : above.shape[1]] = above
            for part, span in zip(found, some, strict=True):
                y, x = (slice(each.first - each.start, each.last - each.start) for each in (band, span))
                weight = row_weights[number][:, None] * column_weights[across.index(span)]
                summed[:, band.first - done :, span.first : span.last] += part[:, y, x] * weight
        assert summed is not None  # there is always a tile
        ready, above = summed[:, : ahead - done], summed[:, ahead - done :]
        first, last = max(0, top - done), max(0, top + size[0] - done)
        done = ahead
        if ready[:, first:last].shape[1]:
            yield ready[:, first:last, left : left + size[1]]


def _batches(across: Sequence[Span], band: Span) -> Iterator[list[Span]]:
    """The tiles of a band, those of one size together, as many as go through a network at once."""
    for side, alike in groupby(across, key=lambda span: span.stop - span.start):
        left, most = list(alike), max(1, _AT_ONCE // (side * (band.stop - band.start)))
        for start in range(0, len(left), most):
            yield left[start : start + most]


def _within(span: Span, context: int, length: int) -> tuple[int, int]:
    """From where to where a tile lies on the picture itself, whose sides are this long."""
    return tuple(min(max(0, place - context), length) for place in (span.start, span.stop))  # type: ignore[return-value]


def _cut(
    member: Member, levels: torch.Tensor, band: Span, span: Span, size: tuple[int, int], tiling: Tiling
) -> torch.Tensor:
    """One tile (1, C, h, w) of a band's levels as the network takes it, with what lies around the picture."""
    first, last = _within(span, tiling.context, size[1])
    grey = member.grey(levels[None, :, :, first:last])
    around: list[int] = []
    for each, length in ((span, size[1]), (band, size[0])):  # F.pad begins with the last side
        end = min(each.stop, length + 2 * tiling.context)
        around += [
            max(0, min(tiling.context, end) - each.start),
            max(0, end - max(each.start, tiling.context + length)),
        ]
    if any(around):
        grey = F.pad(grey, around)
    whole = member.normalise(pad_to_multiple(grey, tiling.multiple, tiling.least))
    return whole.contiguous(memory_format=torch.channels_last)


def _averaged(members: Sequence[Member], tiles: Sequence[torch.Tensor], views: Views, spread: bool) -> torch.Tensor:
    """Probabilities (B, K', h, w) of tiles, mean over views and networks, and their spread as one more channel."""
    total: torch.Tensor | None = None
    moments: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    for member, given in zip(members, tiles, strict=True):
        mine: torch.Tensor | None = None
        for view in views:  # one at a time: of a large tile, eight would fill the memory
            laid = _laid(given, *view).contiguous(memory_format=torch.channels_last)
            probability = _undo(to_probability(member.network(laid)), *view)
            if spread and moments is None:  # how far all are off the first, which keeps the squares small
                moments = probability.clone(), torch.zeros_like(probability), torch.zeros_like(probability)
            elif moments is not None:
                off = probability - moments[0]
                moments[1].add_(off)
                moments[2].add_(off.square_())
            mine = probability if mine is None else mine.add_(probability)
            del probability  # else it lives until the next view is there
        assert mine is not None  # there is always a view
        mine.div_(len(views))
        total = mine if total is None else total.add_(mine)
    assert total is not None  # and a network
    total.div_(len(members))
    if moments is None:
        return total
    mean, square = (each.div_(len(members) * len(views)) for each in moments[1:])
    deviation = (square - mean.square_()).clamp_(min=0).sqrt_()
    return torch.cat([total, deviation.gather(1, total.argmax(dim=1, keepdim=True))], dim=1)


def _laid(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = torch.rot90(image, turns, (-2, -1)) if turns else image
    return turned.flip(-1) if mirrored else turned


def _undo(probability: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = probability.flip(-1) if mirrored else probability
    return torch.rot90(turned, -turns, (-2, -1)) if turns else turned


class _Rows:
    """Rows (C, n, w) that come from top to bottom; kept until later ones are asked for."""

    def __init__(self, blocks: Iterable[torch.Tensor]) -> None:
        self._coming = iter(blocks)
        self._held: deque[tuple[int, torch.Tensor]] = deque()  # each with its first row
        self._end = 0

    def take(self, top: int, bottom: int) -> torch.Tensor:
        """Rows from `top` to `bottom`, which never go back; rows above are forgotten."""
        while self._end < bottom or not self._held:
            block = next(self._coming)
            self._held.append((self._end, block))
            self._end += block.shape[-2]
        while len(self._held) > 1 and self._held[1][0] <= top:
            self._held.popleft()
        parts = [block[:, max(0, top - start) : max(0, bottom - start)] for start, block in self._held]
        return parts[0] if parts[0].shape[1] == bottom - top else torch.cat(parts, dim=1)


def _enlarged(bands: Iterator[torch.Tensor], size: tuple[int, int], wanted: tuple[int, int]) -> Iterator[torch.Tensor]:
    """Rows (K', n, w) of a picture interpolated linearly to another size, pixels being areas.

    The same to the last bit whatever bands the rows come in.
    """
    by, held, top, made = size[0] / wanted[0], None, 0, 0

    def above(row: int) -> int:
        return max(0, math.floor((row + 0.5) * by - 0.5))

    for band in bands:
        held = band if held is None else torch.cat([held, band], dim=1)
        end = top + held.shape[1]
        ready = wanted[0] if end == size[0] else max(made, math.floor((end - 0.5) / by - 0.5))
        while ready < wanted[0] and above(ready) + 1 < end:
            ready += 1
        if ready > made:
            place = (torch.arange(made, ready, device=held.device, dtype=torch.float64) + 0.5) * by - 0.5
            place = place.clamp(0, size[0] - 1)
            upper = place.floor()
            share = (place - upper).float()[:, None]
            first = (upper.long() - top).clamp(min=0)
            second = (first + 1).clamp(max=held.shape[1] - 1)
            rows = torch.lerp(held.index_select(1, first), held.index_select(1, second), share)
            yield F.interpolate(rows[None], (ready - made, wanted[1]), mode="bilinear", align_corners=False)[0]
            made = ready
        kept = min(above(made), end - 1)
        held, top = held[:, kept - top :], kept
