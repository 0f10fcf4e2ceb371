"""Small runs whose metrics are written down: where they change, TRAINING_VERSION has to be raised with them.

They cover what decides numbers: splits, first weights, order, layers, penalties, augmentation, loss, optimizer and
precision. Measured with TensorFlow 2.21 on one thread. Processors differ in the last digits, in bfloat16 in all but the
first; the tolerances allow for that.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.config.schema import RunConfig
from pipeline.system.hardware import resolve_precision
from pipeline.training.identity import TRAINING_VERSION
from tests.helpers.training import trained

DIGITS = ["data=digits", "data.limit=320", "model.padding=same", "model.filters=4", "trainer.epochs=3"]
DIGITS += ["optimizer.learning_rate=0.01"]
RUNS = {
    "conv": [],
    "conv, bfloat16": ["trainer.precision=mixed_bfloat16"],
    "dense, RMSprop": ["model=dense", "model.dense_units=[16,8]", "optimizer=rmsprop", "model.activation=elu"],
    "dropout, penalties": ["model.dropout=0.3", "model.l1=0.0001", "model.l2=0.001", "model.pool=last"],
    "augmentation": ["model.augmentation.flip=horizontal", "model.augmentation.shift=0.1"],
    "splits": ["data.val_fraction=0.2", "data.train_fraction=0.5", "trainer.batch_size=20", "seed=3"],
    "one order, SGD": ["trainer.shuffle=once", "optimizer=sgd", "optimizer.momentum=0.9"],
    "AdamW, clipped, cosine": [
        *("optimizer=adamw", "optimizer.weight_decay=0.1", "optimizer.clip_norm=0.5", "optimizer.schedule=cosine"),
        "optimizer.warmup_epochs=0.5",
    ],
    "Nesterov, piecewise": [
        *("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true", "optimizer.schedule=piecewise"),
        *("optimizer.boundaries=[1,2]", "optimizer.factors=[0.5,0.1]"),
        "optimizer.learning_rate=0.1",
    ],
    "regression": ["data=line", "model=line", "trainer=line", "optimizer=sgd", "trainer.epochs=50", "data.limit=null"],
}
# Training and test loss after the last epoch, for each version of the training.
GOLDEN = {
    1: {
        "conv": (1.547421, 1.338875),
        "conv, bfloat16": (1.657362, 1.469887),
        "dense, RMSprop": (0.965839, 0.991516),
        "dropout, penalties": (1.722448, 1.343256),
        "augmentation": (1.910507, 1.519418),
        "splits": (2.036057, 1.937759),
        "one order, SGD": (2.291444, 2.289125),
        "AdamW, clipped, cosine": (1.997264, 2.003652),
        "Nesterov, piecewise": (2.192283, 2.176450),
        "regression": (0.018954, 0.039434),
    }
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_numbers_of_its_version(name: str, config: Callable[..., RunConfig]) -> None:
    precision = [] if "bfloat16" in name else ["trainer.precision=float32"]
    history = trained(config("trainer.threads=1", *precision, *RUNS[name], base=DIGITS)).history
    # A processor without bfloat16 of its own rounds in other places.
    bfloat16 = 1e-1 if resolve_precision("auto") == "mixed_bfloat16" else 2e-1
    tolerance = bfloat16 if "bfloat16" in name else 1e-3
    found = (history["train/loss"][-1], history["test/loss"][-1])
    golden = GOLDEN[TRAINING_VERSION]
    assert found == pytest.approx(golden[name], rel=tolerance)
    if "bfloat16" in name:
        assert found != pytest.approx(golden["conv"], rel=1e-3), "computed in float32"
