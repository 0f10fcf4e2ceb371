from __future__ import annotations

import pytest

from sweeps.claims.words import difference_in_words, metric_in_words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/accuracy", "test accuracy"),
        ("train/loss@3", "training loss after epoch 3"),
        ("val/accuracy", "validation accuracy"),
        ("train_eval/accuracy", "training accuracy, dropout off"),
        ("test/accuracy/cat", "test accuracy on cat"),
        ("test_shift_0.1/accuracy", "test accuracy at shift 0.1"),
        ("gap/accuracy", "gap"),
        ("gap_size_0.75/accuracy", "gap at size 0.75"),
        ("gradient_norm/conv_1", "gradient norm of conv_1"),
        ("seconds_per_epoch", "seconds per epoch"),
        ("parameters", "parameters"),
    ],
)
def test_metrics_have_names_in_words(metric: str, words: str) -> None:
    assert metric_in_words(metric) == words


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.039, 0.032, 0.046), "0.0390 higher than b, between 0.0320 and 0.0460"),
        ((-0.039, -0.046, -0.032), "0.0390 lower than b, between 0.0320 and 0.0460"),
        ((-0.004, -0.01, 0.002), "0.0040 lower than b, between 0.0100 lower and 0.0020 higher"),
        ((-3.6, -4.84171, -2.35829), "3.6 lower than b, between 2.358 and 4.842"),
        ((900, 900, 900), "900 higher than b"),
        ((2256896, 2256000, 2257000), "2,256,896 higher than b, between 2,256,000 and 2,257,000"),
    ],
)
def test_a_difference_has_a_direction_and_an_interval(ends: tuple[float, float, float], words: str) -> None:
    assert difference_in_words(*ends, " than b") == words
