"""How often a verdict of `lamella.statistics.compare` is wrong, and what it can see: simulated comparisons, as a table.

    python tools/simulate_verdicts.py                 # 20,000 comparisons a setting; a quarter of an hour
    python tools/simulate_verdicts.py draws=2000

A score is the sum of an image's difficulty (it cancels), what the method makes of the image, what the seed makes of the
run, and a rest. "alike": all methods scatter alike over seeds; "one unlike": the first has seven times the deviation of
the others. A false alarm is a comparison in which anybody is called better though all methods are equal.
"""

import sys
from itertools import product

import numpy as np

from lamella.statistics.comparison import CERTAIN, holm, seed_variances
from lamella.statistics.error import Error
from lamella.statistics.intervals import Values

# Deviations of method x image, of seeds and of the rest.
NOISE = ((0.02, 0.003, 0.01), (0.02, 0.008, 0.01), (0.04, 0.015, 0.02))
IMAGES, SEEDS, METHODS = (6, 12, 40, 159), (2, 3, 5, 10), (2, 3, 4, 8, 12)
LEAD = 0.02
_BLOCK = 4_000_000  # numbers drawn at once


def verdicts(
    rng: np.random.Generator, count: int, methods: int, images: int, seeds: int, noise: tuple[float, float, float],
    *, unlike: float, lead: float,
) -> tuple[Values, Values]:  # fmt: skip
    """Differences and p of all pairs in so many comparisons, (count, pairs), of methods of which the first leads."""
    by_image, by_seed, rest = noise
    deviations = np.full(methods, by_seed)
    deviations[0] *= unlike
    main = rng.normal(0, 1, (count, methods, seeds)) * deviations[:, None]
    # Of a run, the rest's mean over images: the mean over runs is in the images, what departs from it stays.
    departs = rng.normal(0, rest / images**0.5, (count, methods, seeds))
    runs = main + departs - departs.mean(axis=-1, keepdims=True)
    each = rng.normal(0, (by_image**2 + rest**2 / seeds) ** 0.5, (count, methods, images))
    each += main.mean(axis=-1, keepdims=True)
    each[:, 0] += lead
    first, second = np.triu_indices(methods, 1)
    mean = each.mean(axis=-1)
    away = each - mean[..., None]
    shared = away @ away.swapaxes(-1, -2) / (images - 1) / images
    variance = np.diagonal(shared, axis1=-2, axis2=-1)
    over_images = variance[:, first] + variance[:, second] - 2 * shared[:, first, second]
    used = seed_variances(runs.var(axis=-1, ddof=1), [seeds - 1.0] * methods) / seeds
    error = Error(over_images, images - 1.0, used[:, first] + used[:, second], methods * (seeds - 1.0))
    difference = mean[:, first] - mean[:, second]
    return difference, holm(error.p(difference))


def share(draws: int, methods: int, images: int, seeds: int, noise: tuple[float, float, float],
          *, unlike: float = 1.0, lead: float = 0.0) -> float:  # fmt: skip
    """The share of comparisons with a false alarm, or, with a lead, with the first method better than all others."""
    rng = np.random.default_rng([methods, images, seeds, int(1e6 * noise[1]), int(unlike)])
    first = np.triu_indices(methods, 1)[0] == 0
    done = found = 0
    while done < draws:
        count = min(draws - done, max(1, _BLOCK // (methods * max(images, methods))))
        difference, p = verdicts(rng, count, methods, images, seeds, noise, unlike=unlike, lead=lead)
        better = p < CERTAIN
        if lead:
            found += int((better & (difference > 0))[:, first].all(axis=-1).sum())
        else:
            found += int(better.any(axis=-1).sum())
        done += count
    return found / draws


def main(arguments: list[str]) -> None:
    draws = int(dict(each.split("=") for each in arguments).get("draws", 20_000))
    print(f"{draws:,} comparisons a setting; standard error of 5 %: {100 * (0.05 * 0.95 / draws) ** 0.5:.2f} %")
    for unlike, name in ((1.0, "alike"), (7.0, "one unlike")):
        print(f"\nFALSE ALARMS in %, seeds {name}: the highest of {len(METHODS)} numbers of methods, {METHODS}")
        print("seed sd  seeds " + "".join(f"{f'n={n}':>16}" for n in IMAGES))
        worst: dict[int, float] = {}
        for noise, seeds in product(NOISE, SEEDS):
            cells = []
            for images in IMAGES:
                rates = {m: share(draws, m, images, seeds, noise, unlike=unlike) for m in METHODS}
                most = max(rates, key=lambda m: rates[m])
                cells.append(f"{100 * rates[most]:.2f} (of {most})")
                worst[seeds] = max(worst.get(seeds, 0), rates[most])
            print(f"{noise[1]:7} {seeds:6} " + "".join(f"{cell:>16}" for cell in cells), flush=True)
        print("highest: " + ", ".join(f"{seeds} seeds {100 * rate:.2f} %" for seeds, rate in worst.items()))
    print(f"\nPOWER in %: the first of 4 methods, {LEAD} ahead of three equal ones, is named the winner")
    print("seed sd  seeds " + "".join(f"{f'n={n}':>16}" for n in IMAGES))
    for noise, seeds in product(NOISE, SEEDS):
        cells = [f"{100 * share(draws, 4, images, seeds, noise, lead=LEAD):.1f}" for images in IMAGES]
        print(f"{noise[1]:7} {seeds:6} " + "".join(f"{cell:>16}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
