"""How often what is said of twice the labels is right, and how often nothing is said: simulated learning curves.

    python tools/simulate_learning.py                # 200 curves a setting; ten minutes
    python tools/simulate_learning.py draws=20 laws=power,log

Curves of 80 labelled images at the most. An image's score is the law's, the image's difficulty (alike at every share),
what this image in particular gains, the seed, which scatters more where fewer train, and a rest. A cell: in how many
per cent of the curves of which something is said the interval holds the truth, and of how many something is said.
"""

import sys
from collections.abc import Callable
from itertools import product

import numpy as np

from lamella.reporting.learning import reason
from lamella.statistics.intervals import Values
from lamella.statistics.learning import law

MOST = 80.0
SHARES = {3: (0.25, 0.5, 1), 4: (0.1, 0.25, 0.5, 1), 5: (0.1, 0.2, 0.35, 0.6, 1), 6: (0.05, 0.1, 0.2, 0.35, 0.6, 1)}
SEEDS, IMAGES = (2, 3, 5), (6, 12, 40, 150)
# Deviations: of images, of what an image gains over the curve, of seeds (with all images), of the rest.
NOISE = (0.06, 0.02, 0.008, 0.03)

LAWS: dict[str, Callable[[Values], Values]] = {
    "power": lambda n: 0.9 - 0.35 * (n / 4) ** -0.6,
    "slow": lambda n: 0.98 - 0.4 * (n / 4) ** -0.25,
    "log": lambda n: 0.5 + 0.09 * np.log(n / 4),
    "exp": lambda n: 0.88 - 0.4 * np.exp(-n / (0.35 * MOST)),
    "broken": lambda n: 0.6 + 0.1 * np.log2(np.minimum(n, MOST / 2) / 4) + 0.03 * np.log2(np.maximum(n, MOST / 2) / 40),
    "flat": lambda n: 0.85 + 0 * n,
    "early": lambda n: 0.2 + 0.6 * (1 - np.exp(-n / (1.5 * MOST))),
}


def drawn(rng: np.random.Generator, means: Values, labelled: Values, seeds: int, images: int) -> list[Values]:
    """Scores (seeds, images) at each number of labelled images."""
    by_image, gains, by_seed, rest = NOISE
    hard, gain = rng.normal(0, by_image, images), rng.normal(0, gains, images)
    result = []
    for mean, ratio in zip(means, labelled / labelled[-1], strict=True):
        scatter = by_seed * (1 + ratio**-0.5) / 2 * rng.normal(0, 1, (seeds, 1))
        of_image = hard + gain * np.log(ratio) / 2 + rng.normal(0, gains / 2, images)
        result.append(mean + of_image + scatter + rng.normal(0, rest, (seeds, images)))
    return result


def cell(name: str, shares: int, seeds: int, images: int, draws: int) -> tuple[int, int]:
    """In how many curves the interval holds the truth, of those in which something is said; and how many these are."""
    rng = np.random.default_rng([list(LAWS).index(name), shares, seeds, images])
    labelled, truth = np.array(SHARES[shares]) * MOST, LAWS[name]
    gain = float(truth(np.array(2 * MOST)) - truth(np.array(MOST)))
    held = said = 0
    for _ in range(draws):
        values = drawn(rng, truth(labelled), labelled, seeds, images)
        found = law(labelled.tolist(), values)
        if reason(found, float(values[0].mean()), "dice"):
            continue
        said += 1
        _, low, high = found.gain(2 * MOST)
        held += int(low <= gain <= high)
    return held, said


def main(arguments: list[str]) -> None:
    given = dict(each.split("=") for each in arguments)
    draws, names = int(given.get("draws", 200)), given.get("laws", ",".join(LAWS)).split(",")
    print(f"{draws} curves a setting; held / said in %")
    for name in names:
        print(f"\n{name}: shares, then images {IMAGES} by seeds {SEEDS}")
        total: dict[int, list[tuple[int, int]]] = {seeds: [] for seeds in SEEDS}
        for shares in SHARES:
            row = []
            for seeds, images in product(SEEDS, IMAGES):
                held, said = cell(name, shares, seeds, images, draws)
                total[seeds].append((held, said))
                row.append(f"{100 * held / said:.0f}/{100 * said / draws:.0f}" if said else f"-/{0}")
            print(f"{shares:3} " + "".join(f"{text:>9}" for text in row), flush=True)
        for seeds, cells in total.items():
            held, said = (sum(column) for column in zip(*cells, strict=True))
            rates = [one / of for one, of in cells if of >= draws / 5]
            least = f"{100 * min(rates):.0f}" if rates else "-"
            print(f"{seeds} seeds: held {100 * held / max(said, 1):.1f} (least of a setting {least}), "
                  f"said {100 * said / draws / len(cells):.0f}")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
