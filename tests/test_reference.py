"""The ablations name the documents' numbers and sentences with the right source, each source by itself.

PUBLISHED, INCONSISTENT and CLAIMS transcribe by hand what the documents print and say, named as in the README. Checked
is that conf/ablation and these tables agree, in both directions. Not checked is that the tables hold all of the
documents: they say more (VGG, ...).
"""

from __future__ import annotations

from functools import cache

import pytest

from pipeline.config.groups import config_groups
from sweeps.config.ablation import Ablation, AblationConfig, compose_ablation

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
# Printed, but contradicting what the same document prints a line above: shown, not judged.
INCONSISTENT = {
    ("lecture_dense", "L13"): {"test/loss": 0.0509, "test/accuracy": 0.9831},
    ("lecture_conv", "L13"): {"test/loss": 0.0128, "test/accuracy": 0.9932},
}
# Claims that test what several documents say.
POOLING = {
    "pooling.too_many_weights_without_one",
    "pooling.too_many_weights_without_two",
    "pooling.pooling_raises_test_accuracy_one",
    "pooling.pooling_raises_test_accuracy_two",
    "pooling.last_pooling_raises_test_accuracy",
    "pooling.pooling_keeps_what_matters_one",
    "pooling.pooling_keeps_what_matters_two",
}
SCALING = {
    "scaling.scaling_lowers_the_training_loss_dense",
    "scaling.scaling_raises_test_accuracy_dense",
    "scaling.scaling_lowers_the_training_loss_conv",
    "scaling.scaling_raises_test_accuracy_conv",
}
# (sentence, document that says it) -> the claims that test it. `reference` of a claim in conf/ablation is the sentence.
CLAIMS: dict[tuple[str, str], set[str]] = {
    # Convolution and pooling lower the loss and raise test accuracy at equal epochs.
    ("convolution_helps", "N21"): {
        "dense_vs_conv.convolution_lowers_the_training_loss",
        "dense_vs_conv.convolution_lowers_the_test_loss",
        "dense_vs_conv.convolution_raises_test_accuracy",
        "dense_vs_conv.convolution_raises_test_accuracy_64",
    },
    ("convolution_helps", "N22"): {
        "dense_vs_conv.convolution_lowers_the_training_loss",
        "dense_vs_conv.convolution_lowers_the_test_loss",
        "dense_vs_conv.convolution_raises_test_accuracy",
    },
    # It costs time: 64 filters (N21), the lecture's two networks (L13, by its printed seconds).
    ("convolution_slower", "N21"): {"dense_vs_conv.convolution_trains_slower"},
    ("convolution_slower", "L13"): {
        "mnist_ladder.convolution_trains_slower",
        "mnist_ladder.convolution_takes_twice_as_long",
    },
    # The quiz, "it makes it faster", in three readings.
    ("quiz_faster", "N22"): {
        "dense_vs_conv.convolution_trains_faster",
        "dense_vs_conv.pooling_trains_faster",
        "pooling.pooling_trains_faster_one",
        "pooling.last_pooling_trains_faster",
        "stop_callback.convolution_needs_fewer_epochs",
    },
    # 16 train faster than 32 and end with a higher loss.
    ("fewer_filters", "N22"): {
        "filter_count.sixteen_train_faster",
        "filter_count.sixteen_end_with_a_higher_training_loss",
        "filter_count.sixteen_end_with_a_higher_test_loss",
    },
    # 64 train more slowly than 32, fit better, differ little on the test set.
    ("more_filters", "N22"): {
        "filter_count.sixty_four_train_slower",
        "filter_count.sixty_four_fit_better",
        "filter_count.little_difference_on_the_test_set",
        "filter_count.more_filters_fit_better",
        "course_grid.more_filters_fit_better",
    },
    # Removing the last convolution lowers the loss ...
    ("one_convolution", "N22"): {
        "layer_count.one_convolution_lowers_the_training_loss",
        "layer_count.one_convolution_lowers_the_test_loss",
        "course_grid.one_convolution_lowers_the_loss",
    },
    # ... and fewer filters then give a similar one.
    ("fewer_filters_similar", "N22"): {"layer_count.thirty_two_are_similar", "layer_count.sixteen_are_similar"},
    # Two convolutions with a single pool are the best.
    ("single_pool", "N22"): {"layer_count.single_pool_is_best_32", "layer_count.single_pool_is_best_64"},
    # Further convolutions hurt; 32 or 64 filters, the notes do not say.
    ("further_convolutions", "N22"): {
        "layer_count.further_convolutions_lower_test_accuracy",
        "layer_count.further_convolutions_lower_test_accuracy_32",
        "layer_count.further_convolutions_raise_the_training_loss",
        "layer_count.further_convolutions_raise_the_training_loss_32",
        "layer_count.accuracy_falls_with_every_convolution",
        "layer_count.accuracy_falls_with_every_convolution_32",
    },
    # Pooling compresses yet keeps what matters and raises performance; without it there are far too many weights.
    ("pooling", "N20"): POOLING,
    ("pooling", "N22"): POOLING,
    ("pooling", "L13"): POOLING,
    # Size and depth of the dense layers and the number of epochs change accuracy.
    ("dense_size", "N21"): {
        "dense_size.wider_layers_raise_training_accuracy",
        "dense_size.wider_layers_raise_test_accuracy",
        "dense_size.five_hundred_and_twelve_raise_test_accuracy",
        "dense_size.deeper_networks_raise_training_accuracy",
        "dense_size.deeper_networks_raise_test_accuracy",
        "dense_size.more_epochs_raise_training_accuracy",
        "dense_size.more_epochs_raise_test_accuracy",
    },
    # Pixels of 0..1 are easier to handle than of 0..255: on Fashion-MNIST (N21, N22) and on MNIST (W3).
    ("scaling", "N21"): SCALING,
    ("scaling", "N22"): SCALING,
    ("scaling", "W3"): {
        "scaling.scaling_lowers_the_training_loss_week3",
        "scaling.scaling_raises_test_accuracy_week3",
    },
    # Training accuracy keeps rising, test accuracy can fall: overfitting.
    ("more_epochs", "N22"): {
        "epochs.training_accuracy_keeps_rising",
        "epochs.test_accuracy_falls",
        "epochs.more_epochs_overfit",
        "remedies.the_baseline_overfits",
        "course_grid.more_epochs_raise_training_accuracy",
        "course_grid.more_epochs_widen_the_gap",
    },
    # More data, a smaller model, L1, L2, dropout (N22), augmentation (N21).
    ("remedies", "N22"): {
        "remedies.more_data_reduces_overfitting",
        "remedies.a_smaller_model_reduces_overfitting",
        "remedies.a_smaller_model_helps",
        "remedies.l1_reduces_overfitting",
        "remedies.l1_helps",
        "remedies.l2_reduces_overfitting",
        "remedies.l2_helps",
        "remedies.dropout_reduces_overfitting",
        "remedies.dropout_helps",
        "course_grid.dropout_reduces_overfitting",
        "course_grid.dropout_helps",
    },
    ("remedies", "N21"): {
        "remedies.augmentation_reduces_overfitting",
        "remedies.augmentation_helps",
        "horse_or_human.augmentation_reduces_overfitting",
        "horse_or_human.augmentation_helps",
    },
    # A callback stops training once training accuracy is at least 0.90 (N22), 0.99 (N21).
    ("callback", "N22"): {"stop_callback.dense_stops_at_090", "stop_callback.conv_stops_at_090"},
    ("callback", "N21"): {"stop_callback.dense_stops_at_099"},
    # 99.5 %, on Fashion-MNIST (text) or MNIST (code).
    ("exercise", "N22"): {"stop_callback.mnist_conv_stops_at_0995", "stop_callback.conv_stops_at_0995"},
    # Softmax, dense, convolutional, in that order.
    ("mnist_order", "L13"): {"mnist_ladder.dense_beats_softmax", "mnist_ladder.conv_beats_dense"},
    # The dense network over 98 %, the convolutional one over 99 %.
    ("mnist_thresholds", "L13"): {"mnist_ladder.dense_reaches_98_percent", "mnist_ladder.conv_reaches_99_percent"},
    # Deep plain networks suffer from vanishing gradients ...
    ("plain_stacks", "L13"): {
        "depth.plain_stacks_fit_worse_with_depth",
        "depth.deepest_plain_stack_fits_worst",
        "depth.plain_gradients_vanish_with_depth",
    },
    # ... and residual blocks let the gradient flow.
    ("residual_blocks", "L13"): {
        "depth.shortcuts_let_the_gradient_flow",
        "depth.shortcuts_lower_the_training_loss",
        "depth.shortcuts_raise_test_accuracy",
        "depth.residual_stacks_fit_better_with_depth",
    },
    # Horses right, people taken for horses: overfitting.
    ("horse_mistakes", "N21"): {
        "horse_or_human.right_on_most",
        "horse_or_human.wrong_on_some",
        "horse_or_human.people_are_mistaken_more_often",
        "horse_or_human.it_overfits",
    },
    # Convolutional networks want uniform pictures: centred, of one size.
    ("uniform_pictures", "N21"): {
        "uniform_pictures.conv_wants_centred_pictures",
        "uniform_pictures.conv_wants_one_size_smaller",
        "uniform_pictures.conv_wants_one_size_larger",
    },
    # The exact answer is 4.
    ("line_prediction", "N21"): {"line.close_to_the_exact_answer"},
}


@cache
def composed() -> list[Ablation]:
    return [compose_ablation(name, []) for name in config_groups()["ablation"]]


def ablations() -> list[AblationConfig]:
    return [ablation.config for ablation in composed()]


@pytest.mark.parametrize(("network", "source"), PUBLISHED)
def test_every_published_number_is_compared(network: str, source: str) -> None:
    numbers = [a.trials[network].published.get(source, {}) for a in ablations() if network in a.trials]
    assert PUBLISHED[network, source] in numbers


def test_no_number_is_published_that_the_documents_do_not_print() -> None:
    for ablation in ablations():
        for label, trial in ablation.trials.items():
            for source, values in trial.published.items():
                assert values == PUBLISHED[label, source], f"{ablation.name}: {label}"


def test_numbers_that_a_document_contradicts_itself_are_recorded_and_not_judged() -> None:
    remarks = [remark for a in ablations() for remark in a.remarks if remark.numbers]
    assert {(remark.trial, remark.source): remark.numbers for remark in remarks} == INCONSISTENT
    judged = {(p.trial, p.metric, p.source, p.value) for a in ablations() for p in a.published}
    assert not {(r.trial, "test/loss", r.source, r.numbers["test/loss"]) for r in remarks} & judged


def test_every_claim_names_the_documents_that_say_so() -> None:
    claims: dict[tuple[str, str], set[str]] = {}
    for ablation in ablations():
        for name, claim in ablation.claims.items():
            assert bool(claim.reference) == bool(claim.source), name
            for source in claim.source:
                claims.setdefault((claim.reference, source), set()).add(f"{ablation.name}.{name}")
    assert claims == CLAIMS


def test_the_authors_findings_name_what_there_is() -> None:
    for ablation in ablations():
        if discussion := ablation.discussion:
            assert set(discussion.verdicts) <= {*ablation.claims, *(number.name for number in ablation.published)}


def test_every_claim_stops_at_the_target_that_it_names() -> None:
    (stop,) = (ablation for ablation in composed() if ablation.config.name == "stop_callback")
    targets = {trial.label: trial.base.trainer.stop_at_accuracy for trial in stop.sweep.trials or []}
    for name, claim in stop.config.claims.items():
        assert f"{targets[claim.trial or '']:.3g}" in claim.says.replace("0.90", "0.9"), name
