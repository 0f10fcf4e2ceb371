"""Sweeps in which nothing is to be found: every verdict on them is wrong. 21 seeds, with scatter of several kinds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweeps.claims.config import ClaimConfig, Published
from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding, judge, judge_published
from tests.helpers.evidence import GivenEvidence, at, claim

LOOKS = (3, 5, 8, 13, 21)
SEEDS = LOOKS[-1]
SCATTER = 0.004
FINENESS = 1 / 256

Noise = Callable[[np.random.Generator, float], list[float]]


def normal(rng: np.random.Generator, mean: float) -> list[float]:
    """Normal scatter."""
    return list(mean + SCATTER * rng.standard_normal(SEEDS))


def heavy(rng: np.random.Generator, mean: float) -> list[float]:
    """Scatter with heavy tails: Student's t with three degrees of freedom."""
    return list(mean + SCATTER / 3**0.5 * rng.standard_t(3, SEEDS))


def tied(rng: np.random.Generator, mean: float) -> list[float]:
    """Accuracies of 256 examples, many of them equal."""
    return list(np.round(np.array(normal(rng, mean)) / FINENESS) * FINENESS)


def outliers(rng: np.random.Generator, mean: float) -> list[float]:
    """One seed in ten lies ten standard deviations below the others; what is left has the mean that is asked for."""
    fallen = rng.random(SEEDS) < 0.1
    return list(mean + SCATTER * (rng.standard_normal(SEEDS) - 10 * fallen + 1))


NOISES: dict[str, Noise] = {noise.__name__: noise for noise in (normal, heavy, tied, outliers)}


def _accuracies(noise: Noise, rng: np.random.Generator, **means: float) -> GivenEvidence:
    values = {trial: {"test/accuracy": noise(rng, mean)} for trial, mean in means.items()}
    return GivenEvidence(values, fineness=FINENESS if noise is tied else 1e-4)


def _flat(noise: Noise, rng: np.random.Generator) -> GivenEvidence:
    """A gap, and a test loss that does not rise."""
    curves = np.array([noise(rng, 0.3) for _ in range(10)]).T.tolist()
    return GivenEvidence({"a": {"gap/accuracy": noise(rng, 0.05)}}, {"a": curves})


def _no_remedy(noise: Noise, rng: np.random.Generator) -> GivenEvidence:
    names = ("gap/accuracy", "test/accuracy")
    return GivenEvidence({trial: {name: noise(rng, 0.9) for name in names} for trial in "ab"})


def _at_the_target(noise: Noise, rng: np.random.Generator) -> GivenEvidence:
    """Half of the seeds reach the target."""
    accuracy = noise(rng, 0.9)
    epochs = [20.0 if each < 0.9 else float(rng.integers(15, 21)) for each in accuracy]
    return GivenEvidence({"a": {"train/accuracy": accuracy, "epochs": epochs}}, limit=(20, 0.9))


def _equally_fast(noise: Noise, rng: np.random.Generator) -> GivenEvidence:
    return GivenEvidence({"a": {}, "b": {}}, times={trial: noise(rng, 0.9)[:5] for trial in "ab"})


def _compared(kind: str, **keys: object) -> dict[str, ClaimConfig]:
    return {"it": claim(kind, **{"trial": "a", "than": ["b"], "metric": "test/accuracy"} | keys)}


Made = Callable[[Noise, np.random.Generator], GivenEvidence]
ALONG = {"trial": None, "than": [], "along": ["a", "b", "c"]}
CLAIMS: dict[str, tuple[dict[str, ClaimConfig], Made]] = {
    "greater": (_compared("greater"), lambda noise, rng: _accuracies(noise, rng, a=0.9, b=0.9)),
    "less, by a margin": (_compared("less", margin=0.01), lambda noise, rng: _accuracies(noise, rng, a=0.9, b=0.91)),
    "greater than a value": (
        {"it": claim("greater", trial="a", value=0.9, metric="test/accuracy")},
        lambda noise, rng: _accuracies(noise, rng, a=0.9),
    ),
    "equal_within, at the margin": (
        _compared("equal_within", margin=0.01),
        lambda noise, rng: _accuracies(noise, rng, a=0.91, b=0.9),
    ),
    "rises": (_compared("rises", **ALONG), lambda noise, rng: _accuracies(noise, rng, a=0.9, b=0.9, c=0.9)),
    "falls": (_compared("falls", **ALONG), lambda noise, rng: _accuracies(noise, rng, a=0.9, b=0.9, c=0.9)),
    "overfits": ({"it": claim("overfits", trial="a")}, _flat),
    "reduces_overfitting": ({"it": claim("reduces_overfitting", trial="a", than=["b"])}, _no_remedy),
    "stops": ({"it": claim("stops", trial="a")}, _at_the_target),
    "slower": ({"it": claim("slower", trial="a", than=["b"])}, _equally_fast),
    "faster": ({"it": claim("faster", trial="a", than=["b"])}, _equally_fast),
    "seven against one": (
        {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(7)},
        lambda noise, rng: _accuracies(noise, rng, b=0.9, **{f"a{n}": 0.9 for n in range(7)}),
    ),
    # Those that are decided leave the family early: what is left must not be judged too easily.
    "two of seven, the others true": (
        {str(n): claim("greater", trial=f"a{n}", than=["b"], metric="test/accuracy") for n in range(7)},
        lambda noise, rng: _accuracies(noise, rng, b=0.9, **{f"a{n}": 0.9 if n < 2 else 0.95 for n in range(7)}),
    ),
}
NUMBERS = {"published number": 1, "twenty published numbers": 20}
TRUE = {str(n) for n in range(2, 7)}  # of the last family


def wrong_verdict(name: str, noise: Noise, rng: np.random.Generator, looks: tuple[int, ...] = LOOKS) -> bool:
    """Make a sweep, and return whether any of these looks gives a wrong verdict."""
    if name in NUMBERS:  # further runs of ours, without a tolerance
        trials = [f"a{n}" for n in range(NUMBERS[name])]
        numbers = [Published(trial, "test/accuracy", "N22", noise(rng, 0.9)[0]) for trial in trials]
        evidence = _accuracies(noise, rng, **dict.fromkeys(trials, 0.9))
        findings = judge_published(numbers, evidence, at(*looks, tolerance={"accuracy": 0.0}))
        return any(finding.verdict == CONTRADICTED for finding in findings)
    claims, made = CLAIMS[name]
    return any(_is_wrong(name, finding) for finding in judge(claims, made(noise, rng), at(*looks)))


def _is_wrong(name: str, finding: Finding) -> bool:
    if name.startswith("equal_within"):  # such a difference is taken not to lie within it
        return finding.verdict == REPRODUCED
    if name == "stops":  # half of the seeds do: that they stop on average is not wrong
        return finding.verdict == CONTRADICTED
    if name.endswith("the others true") and finding.question.name in TRUE:
        return finding.verdict not in (INCONCLUSIVE, REPRODUCED)
    return finding.verdict != INCONCLUSIVE


KINDS = [*CLAIMS, *NUMBERS]
