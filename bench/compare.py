"""Two runs of benchmarks side by side: `python -m bench.compare A.json B.json`, files of `python -m bench --json`.

A figure is a number, or a list of numbers: several rounds of the same. Of several the median counts, and their noise is half of
the distance between the quartiles of each run, in quadrature. What a single number's noise is nobody knows: SINGLE of it is
taken, which on a machine that others use too is little. A verdict is `same` within SIGNIFICANT times the noise.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SINGLE = 0.1
SIGNIFICANT = 2.0
MANY = 4  # rounds from which on quartiles say something


class Compared(NamedTuple):
    """One figure of both runs: its medians, their ratio (B/A), how far it may be from 1 by noise alone, and the verdict."""

    name: str
    a: float
    b: float
    ratio: float
    noise: float
    verdict: str


def figures_of(run: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """(name, rounds) of every figure of a run: numbers, and lists of numbers, at any depth."""
    if isinstance(run, dict):
        for key, value in run.items():
            yield from figures_of(value, f"{name}: {key}" if name else str(key))
    elif isinstance(run, list) and run and all(isinstance(one, int | float) for one in run):
        yield name, np.array(run, float)
    elif isinstance(run, int | float) and not isinstance(run, bool):
        yield name, np.array([run], float)


def noise_of(rounds: np.ndarray) -> float:
    """How far the median of the rounds may be off, as a share of it."""
    middle = abs(float(np.median(rounds)))
    if len(rounds) < MANY or not middle:
        return SINGLE
    low, high = np.percentile(rounds, [25, 75])
    return float(high - low) / 2 / middle


def compare(a: Any, b: Any) -> tuple[list[Compared], list[str]]:
    """(the figures that both runs have, the names of those that one of them has)."""
    left, right = dict(figures_of(a)), dict(figures_of(b))
    out = []
    for name in (name for name in left if name in right):
        one, other = float(np.median(left[name])), float(np.median(right[name]))
        if not one:
            out.append(
                Compared(name, one, other, 1.0 if one == other else float("inf"), 0.0, "same" if one == other else "differs")
            )
            continue
        ratio, noise = other / one, float(np.hypot(noise_of(left[name]), noise_of(right[name])))
        beyond = abs(ratio - 1.0) > SIGNIFICANT * noise
        out.append(Compared(name, one, other, ratio, noise, ("more" if ratio > 1 else "less") if beyond else "same"))
    return out, sorted(set(left) ^ set(right))


def main(words: list[str]) -> int:
    """Prints a line a figure; exit status 0 whatever it says: which way is better a figure does not tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    asked = parser.parse_args(words)
    found, alone = compare(*(json.loads(path.read_text()) for path in (asked.a, asked.b)))
    if asked.json:
        print(json.dumps({"figures": [one._asdict() for one in found], "in_one_only": alone}, indent=1))
        return 0
    print(f"{'figure':<70} {asked.a.name:>16} {asked.b.name:>16}  ratio  noise")
    for one in found:
        print(f"{one.name[-70:]:<70} {one.a:>16,.6g} {one.b:>16,.6g} {one.ratio:>6.2f} {one.noise:>6.0%}  {one.verdict}")
    for name in alone:
        print(f"{name}: in one of the runs only")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
