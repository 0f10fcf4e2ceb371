"""The seeds of a sweep as they are given: a list, a number, or as many as it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pipeline.config.rules import Allowed
from sweeps.claims.config import MOST_SEEDS

AUTO = "auto"  # as many seeds as it takes to decide an ablation's claims


def _are_seeds(seeds: Any, least: int) -> bool:
    if not isinstance(seeds, list) or not least <= len(seeds) <= MOST_SEEDS:
        return False
    return all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds) and len(set(seeds)) == len(seeds)


def with_listed_seeds(overrides: Iterable[str]) -> list[str]:
    """Return overrides with `seeds=0,1,2`, which no shell changes, as the list `seeds=[0,1,2]`."""
    return [re.sub(r"^seeds=(\d+(?:,\d+)+)$", r"seeds=[\1]", override) for override in overrides]


def seeds_from(least: int) -> Allowed:
    """Return the rule for lists of at least so many seeds."""
    return Allowed(
        f"a list of {least} to {MOST_SEEDS:,} different whole numbers from 0 to 2147483647, as in [0,1,2]",
        lambda seeds: _are_seeds(seeds, least),
    )


SEEDS = Allowed(
    f"a number of seeds from 1 to {MOST_SEEDS:,}, or {seeds_from(1).words}",
    lambda seeds: _are_seeds(seeds, 1) or (type(seeds) is int and 1 <= seeds <= MOST_SEEDS),
)
SEEDS_OR_AUTO = Allowed(f"{AUTO}, {SEEDS.words}", lambda seeds: seeds == AUTO or SEEDS.fits(seeds), (AUTO,))
