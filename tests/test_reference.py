"""Every number that the course documents print and every claim that they make is tested by an ablation.

PUBLISHED and CLAIMS transcribe the documents, named as in the README; a row that no ablation covers fails here.
"""

from __future__ import annotations

import pytest

from pipeline.config import config_groups
from sweeps.ablation import AblationConfig, compose_ablation

# (network, source) -> metric -> value; one run each, seed unknown. conv_conv_pool is run with 32 and with 64 filters.
PUBLISHED: dict[tuple[str, str], dict[str, float]] = {
    ("dense_128", "N22"): {
        "train/loss": 0.2977,
        "train/accuracy": 0.8905,
        "test/loss": 0.3368,
        "test/accuracy": 0.8809,
    },
    ("dense_128", "N21"): {"test/accuracy": 0.87},
    ("conv_16", "N22"): {"train/loss": 0.2591, "train/accuracy": 0.9055, "test/loss": 0.2958, "test/accuracy": 0.8896},
    ("conv_32", "N22"): {"train/loss": 0.2253, "train/accuracy": 0.9166, "test/loss": 0.2718, "test/accuracy": 0.9006},
    ("conv_64", "N22"): {"train/loss": 0.1855, "train/accuracy": 0.9303, "test/loss": 0.2729, "test/accuracy": 0.9024},
    ("conv_64", "N21"): {"test/accuracy": 0.90},
    ("one_conv_64", "N22"): {
        "train/loss": 0.1464,
        "train/accuracy": 0.9458,
        "test/loss": 0.2554,
        "test/accuracy": 0.9120,
    },
    ("conv_conv_pool_32", "N22"): {
        "train/loss": 0.0985,
        "train/accuracy": 0.9638,
        "test/loss": 0.2683,
        "test/accuracy": 0.9200,
    },
    ("conv_conv_pool_64", "N22"): {
        "train/loss": 0.0985,
        "train/accuracy": 0.9638,
        "test/loss": 0.2683,
        "test/accuracy": 0.9200,
    },
    ("softmax", "L13"): {"test/accuracy": 0.9278},
    ("lecture_dense", "L13"): {
        "train/loss@1": 0.2558,
        "train/accuracy@1": 0.9214,
        "test/loss@1": 0.1380,
        "test/accuracy@1": 0.9593,
        "train/loss@2": 0.1272,
        "train/accuracy@2": 0.9631,
        "test/loss@2": 0.0897,
        "test/accuracy@2": 0.9739,
        "train/loss@14": 0.0367,
        "train/accuracy@14": 0.9887,
        "test/loss@14": 0.0811,
        "test/accuracy@14": 0.9826,
        "train/loss": 0.0375,
        "train/accuracy": 0.9897,
        "test/loss": 0.0796,
        "test/accuracy": 0.9831,
    },
    ("lecture_conv", "L13"): {
        "train/loss@1": 0.2291,
        "train/accuracy@1": 0.9272,
        "test/loss@1": 0.0756,
        "test/accuracy@1": 0.9744,
        "train/loss@2": 0.0656,
        "train/accuracy@2": 0.9788,
        "test/loss@2": 0.0383,
        "test/accuracy@2": 0.9877,
        "train/loss@3": 0.0492,
        "train/accuracy@3": 0.9849,
        "test/loss@3": 0.0249,
        "test/accuracy@3": 0.9921,
        "train/loss@4": 0.0389,
        "train/accuracy@4": 0.9874,
        "test/loss@4": 0.0253,
        "test/accuracy@4": 0.9915,
        "train/loss": 0.0336,
        "train/accuracy": 0.9890,
        "test/loss": 0.0209,
        "test/accuracy": 0.9932,
    },
    ("line", "N21"): {"prediction": 4.0027},
}
# Sentence -> who says it. `reference` of a claim in conf/ablation names the sentence.
CLAIMS = {
    "convolution_helps": {"N20", "N21", "N22"},  # lowers the loss and raises test accuracy at equal epochs
    "convolution_slower": {"N21", "N22"},  # N21 says slower, N22's quiz faster
    "fewer_filters": {"N22"},  # 16 train faster than 32 and end with a higher loss
    "more_filters": {"N22"},  # 64 train more slowly, fit better, differ little on the test set
    "one_convolution": {"N22"},  # removing the last convolution lowers the loss
    "single_pool": {"N22"},  # two convolutions with a single pool are the best
    "further_convolutions": {"N22"},  # further convolutions hurt
    "more_epochs": {"N22"},  # training accuracy keeps rising, test accuracy can fall
    "remedies": {"N21", "N22"},  # more data, smaller model, L1, L2, dropout, augmentation
    "callback": {"N21", "N22"},  # stops at 0.90, 0.99; MNIST 0.995
    "mnist_order": {"L13"},  # softmax, dense, convolutional
    "horse_mistakes": {"N21"},  # right on most, wrong on some: overfitting
    "line_prediction": {"N21"},  # the exact answer is 4
}
# Sentences of several parts: claims that must be there, by their names.
PARTS = {
    "fewer_filters": {"faster", "greater"},
    "more_filters": {"slower", "less", "equal_within"},
    "convolution_helps": {"less", "greater"},
    "convolution_slower": {"slower", "faster"},
    "more_epochs": {"rises", "less", "overfits"},
    "remedies": {"falls", "reduces_overfitting"},
}


def ablations() -> list[AblationConfig]:
    return [compose_ablation(name, []).config for name in config_groups()["ablation"]]


@pytest.mark.parametrize(("network", "source"), PUBLISHED)
def test_every_published_number_is_compared(network: str, source: str) -> None:
    found = [a.trials[network].published.get(source, {}) for a in ablations() if network in a.trials]
    assert PUBLISHED[network, source] in found


def test_no_number_is_published_that_the_documents_do_not_print() -> None:
    for ablation in ablations():
        for label, trial in ablation.trials.items():
            for source, told in trial.published.items():
                assert told == PUBLISHED[label, source], f"{ablation.name}: {label}"


@pytest.mark.parametrize("sentence", CLAIMS)
def test_every_claim_is_tested(sentence: str) -> None:
    found = [claim for a in ablations() for claim in a.claims.values() if claim.reference == sentence]
    assert {source for claim in found for source in claim.source} == CLAIMS[sentence]
    assert {claim.kind for claim in found} >= PARTS.get(sentence, set())


def test_every_remedy_and_target_is_tested() -> None:
    tested = {claim.trial for a in ablations() for claim in a.claims.values() if claim.reference == "remedies"}
    assert tested >= {"dropout", "l1", "l2", "smaller", "augmentation", "augmented"}
    stop = compose_ablation("stop_callback", []).sweep.trials or []
    assert {trial.base.trainer.stop_at_accuracy for trial in stop} == {0.90, 0.99, 0.995}


def test_a_claim_names_a_sentence_that_is_known() -> None:
    for ablation in ablations():
        for name, claim in ablation.claims.items():
            assert bool(claim.reference) == bool(claim.source), name
            assert claim.reference in (*CLAIMS, ""), name
