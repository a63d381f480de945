"""How often the 95 % intervals of `lamella.statistics` hold the truth: simulated scores, as a table.

    python tools/simulate_intervals.py                # 1,000 samples a cell; a quarter of an hour
    python tools/simulate_intervals.py draws=500

Of one mean: for new images. Of a difference of two methods: for new images and new seeds. Of pooled Dice: for new
images of unlike size. The last rows of the first table are what no interval of few images can know: rare failures.
"""

import sys
from collections.abc import Callable
from itertools import product

import numpy as np

from lamella.metrics.pixels import dice
from lamella.statistics import compare, interval, interval_of
from lamella.statistics.intervals import Values

Draw = Callable[[np.random.Generator, int], Values]


def _failing(share: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Values:
        good, bad = rng.normal(0.92, 0.03, n), rng.uniform(0, 0.5, n)
        return np.where(rng.random(n) < share, bad, good)

    return draw


SCORES: dict[str, tuple[Draw, float]] = {
    "normal, .90 and .03": (lambda rng, n: rng.normal(0.9, 0.03, n), 0.9),
    "beta(18, 2)": (lambda rng, n: rng.beta(18, 2, n), 0.9),
    "beta(6, .4), near 1": (lambda rng, n: rng.beta(6, 0.4, n), 6 / 6.4),
    "5 % fail": (_failing(0.05), 0.95 * 0.92 + 0.05 * 0.25),
    "10 % fail": (_failing(0.1), 0.9 * 0.92 + 0.1 * 0.25),
    "15 % exactly 0": (lambda rng, n: np.where(rng.random(n) < 0.15, 0, rng.normal(0.9, 0.03, n)), 0.85 * 0.9),
}
IMAGES = (2, 3, 5, 6, 10, 12, 20, 40, 160)
SEEDS = (1, 2, 3, 5, 10)


def of_mean(rng: np.random.Generator, draw: Draw, truth: float, n: int, each: int) -> bool:
    """Whether the interval of one sample of n groups of up to so many images holds the truth."""
    sizes = rng.integers(1, each + 1, n)
    place = np.repeat(np.arange(n), sizes)
    # Images of a group have half their variance in common; the mean of a group is as the distribution's.
    values = draw(rng, n)[place] + (rng.normal(0, 0.03, len(place)) if each > 1 else 0)
    found = interval(values, groups=place if each > 1 else None, bounds=(0, 1))
    return found.low <= truth <= found.high


def of_difference(rng: np.random.Generator, draw: Draw, n: int, seeds: int, by_seed: float) -> bool:
    """Whether the interval of two methods' difference holds 0, which it is."""
    image = rng.normal(0, 0.06, n)
    tables = {
        name: image + draw(rng, n) + rng.normal(0, by_seed, (seeds, 1)) + rng.normal(0, 0.01, (seeds, n))
        for name in ("a", "b")
    }
    found = compare(tables, deterministic=["a", "b"] if by_seed == 0 else [])[0]
    return found.low is not None and found.high is not None and found.low <= 0 <= found.high


def of_pooled(rng: np.random.Generator, n: int) -> bool:
    """Whether the interval of the pooled Dice of n images, of unlike size and quality, holds that of all images."""
    size, quality = rng.integers(200, 5000, n), rng.beta(18, 2, n)
    found = np.round(size * quality)
    rows = np.stack([found, size - found, size - found, 0 * size], axis=1)  # as many extra as missed: Dice is quality
    ends = interval_of(rows, dice, bounds=(0, 1))
    return ends.low <= 0.9 <= ends.high


def _row(name: str, draws: int, holds: Callable[[np.random.Generator, int], bool], images: tuple[int, ...]) -> None:
    cells = []
    for n in images:
        rng = np.random.default_rng([n, draws])
        cells.append(f"{100 * np.mean([holds(rng, n) for _ in range(draws)]):.1f}")
    print(f"{name:44}" + "".join(f"{cell:>7}" for cell in cells), flush=True)


def main(arguments: list[str]) -> None:
    draws = int(dict(each.split("=") for each in arguments).get("draws", 1000))
    print(f"{draws:,} samples a cell; standard error of 95 %: {100 * (0.05 * 0.95 / draws) ** 0.5:.2f} %")
    print(f"\n{'ONE MEAN, over new images':44}" + "".join(f"{f'n={n}':>7}" for n in IMAGES))
    for name, (draw, truth) in SCORES.items():
        _row(name, draws, lambda rng, n, d=draw, t=truth: of_mean(rng, d, t, n, 1), IMAGES)  # type: ignore[misc]
    print(f"\n{'ONE MEAN, over new groups of 1 to 10 images':44}" + "".join(f"{f'n={n}':>7}" for n in IMAGES))
    for name, (draw, truth) in list(SCORES.items())[:2]:
        _row(name, draws, lambda rng, n, d=draw, t=truth: of_mean(rng, d, t, n, 10), IMAGES)  # type: ignore[misc]
    print(f"\n{'POOLED DICE, over new images':44}" + "".join(f"{f'n={n}':>7}" for n in IMAGES))
    _row("images of 200 to 5,000 pixels", draws, of_pooled, IMAGES)
    few = (2, 3, 6, 12, 40, 160)
    print(f"\n{'A DIFFERENCE, over new images and seeds':44}" + "".join(f"{f'n={n}':>7}" for n in few))
    for name, by_seed in product(list(SCORES)[:2], (0.0, 0.003, 0.015)):
        draw = SCORES[name][0]
        for seeds in SEEDS[1:] if by_seed else SEEDS[:1]:
            said = f"{name}, seed sd {by_seed}, {seeds} seed{'s' * (seeds > 1)}"
            _row(said, draws, lambda rng, n, d=draw, s=seeds, b=by_seed: of_difference(rng, d, n, s, b), few)  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1:])
