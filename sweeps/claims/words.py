"""Metrics and differences in words."""

from __future__ import annotations

# Metrics that are counted, not measured.
COUNTS = ("parameters", "epochs")
PARTS = {"train": "training", "train_eval": "training", "val": "validation"}


def metric_in_words(metric: str) -> str:
    """Return what a metric is called in tables, figures and sentences.

    >>> metric_in_words("train/loss@3"), metric_in_words("test/accuracy/cat"), metric_in_words("gap/accuracy")
    ('training loss after epoch 3', 'test accuracy on cat', 'gap')
    """
    name, _, epoch = metric.partition("@")
    part, _, quantity = name.partition("/")
    if part == "gradient_norm":
        return f"gradient norm of {quantity}"
    quantity, _, of = quantity.partition("/")
    base, _, change = part.partition("_") if part.startswith(("test_", "gap_")) else (part, "", "")
    words = "gap" if base == "gap" else f"{PARTS.get(base, base)} {quantity}".replace("_", " ").strip()
    if part == "train_eval":
        words += ", dropout off"
    ends = {" on ": of, " at ": change.replace("_", " "), " after epoch ": epoch}
    return words + "".join(joint + end for joint, end in ends.items() if end)


def number_in_words(value: float) -> str:
    """Return a number: below 1 with four decimals, from 1,000 whole, else with four digits.

    >>> number_in_words(0.9), number_in_words(3.6), number_in_words(900), number_in_words(2076672)
    ('0.9000', '3.6', '900', '2,076,672')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.4g}"


def plural(count: int, noun: str) -> str:
    """Return how many there are.

    >>> plural(1, "seed{s}"), plural(1200, "round{s} of timing")
    ('1 seed', '1,200 rounds of timing')
    """
    return f"{count:,} {noun.format(s='' if count == 1 else 's')}"


def difference_in_words(estimate: float, low: float, high: float, than: str = "") -> str:
    """Return a difference with its interval, if that has a width.

    >>> difference_in_words(0.039, 0.032, 0.046, " than b")
    '0.0390 higher than b, between 0.0320 and 0.0460'
    >>> difference_in_words(-0.004, -0.01, 0.002)
    '0.0040 lower, between 0.0100 lower and 0.0020 higher'
    >>> difference_in_words(2076672, 2076672, 2076672)
    '2,076,672 higher'
    """
    above = [number_in_words(abs(end)) for end in sorted((low, high), key=abs)]
    words = f"{number_in_words(abs(estimate))} {_direction(estimate)}{than}"
    if low == high:
        return words
    if low * high >= 0:
        return f"{words}, between {above[0]} and {above[1]}"
    ends = [f"{number_in_words(abs(end))} {_direction(end)}" for end in (low, high)]
    return f"{words}, between {ends[0]} and {ends[1]}"


def ratio_in_words(ratio: float, low: float, high: float, as_what: str = "") -> str:
    """Return how many times as much it is, with the interval, if that has a width.

    >>> ratio_in_words(2.5, 2.1234, 3, " as b"), ratio_in_words(0.5, 0.5, 0.5)
    ('2.5 times as high as b, between 2.12 and 3', '0.5 times as high')
    >>> ratio_in_words(2e5, 1e4, 3.2e6)
    '200,000 times as high, between 10,000 and 3,200,000'
    """
    times, *ends = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (ratio, low, high))
    words = f"{times} times as high{as_what}"
    return words if low == high else f"{words}, between {ends[0]} and {ends[1]}"


def _direction(value: float) -> str:
    return "higher" if value >= 0 else "lower"
