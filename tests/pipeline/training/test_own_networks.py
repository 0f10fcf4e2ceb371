"""Networks of a user's own are trained, resumed, stopped and stored as ours are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.training.checkpoints import CheckpointStore
from pipeline.training.identity import resolve
from pipeline.training.trainer import restore_model
from tests.helpers.network_names import GOOD
from tests.helpers.training import signature, trained

Own = Callable[..., RunConfig]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", GOOD)
def test_longer_run_continues_a_shorter_one_bit_for_bit(own: Own, tmp_path: Path, name: str, precision: str) -> None:
    """Moving averages of batch normalization, generators of dropout and the optimizer's variables are all restored."""
    overrides = [f"trainer.precision={precision}", "trainer.batch_size=64"]
    whole = trained(own(name, *overrides, "trainer.epochs=4"))
    store = CheckpointStore(tmp_path)
    trained(own(name, *overrides), checkpoints=store)
    assert store.epochs() == [2]
    extended = trained(own(name, *overrides, "trainer.epochs=4"), checkpoints=store)
    assert extended.history == whole.history
    assert extended.final["train_eval/loss"] == whole.final["train_eval/loss"]
    assert "Total params" in extended.summary


@pytest.mark.parametrize("name", GOOD)
def test_restored_model_predicts_what_was_measured(own: Own, tmp_path: Path, name: str) -> None:
    run, store = resolve(own(name), "data"), CheckpointStore(tmp_path)
    result = trained(run.config, checkpoints=store)
    checkpoint = store.latest(2)
    assert checkpoint is not None
    net = restore_model(run, checkpoint)
    test = data.load(run.config.data).test
    said = net.predict_on_batch(test.x.astype(np.float32) / 16).argmax(axis=1)
    assert np.mean(said == test.y) == pytest.approx(result.history["test/accuracy"][-1])
    assert np.mean(said[test.y == 3] == 3) == pytest.approx(result.final["test/accuracy/3"])


def test_augmentation_stands_before_the_network(own: Own) -> None:
    plain, changed = own("mixer"), own("mixer", "model.augmentation.shift=0.2")
    assert signature(plain) != signature(changed)
    assert trained(plain).history != trained(changed).history


def test_signature_is_of_builder_arguments_and_code(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [own("mixer"), own("sequential"), own("mixer", "model.args.width=9"), own("mixer", "seed=1")]
    assert len({signature(config) for config in names}) == len(names)
    assert signature(own("mixer", "model.name=other")) == signature(own("mixer"))
    before = signature(own("mixer"))
    monkeypatch.setattr("pipeline.training.identity.hash_of_code", lambda key, path: "changed")
    assert signature(own("mixer")) != before


def test_training_stops_at_an_accuracy(own: Own) -> None:
    result = trained(own("mixer", "trainer.epochs=30", "trainer.stop_at_accuracy=0.6"))
    assert result.stopped == "stop_at_accuracy"
    assert result.epochs < 30


def test_what_a_module_sets_when_imported_decides_no_run(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported by the first run of a worker, it would change that run, and not those after it."""
    text = "import keras\nkeras.utils.set_random_seed(7)\nkeras.config.set_dtype_policy('mixed_bfloat16')\n"
    (tmp_path / "seeded.py").write_text(text + "from tests.helpers.networks import mixer\n")
    monkeypatch.syspath_prepend(tmp_path)
    runs = [own("mixer", "model.builder=seeded:mixer", "trainer.precision=float32") for _ in range(2)]
    first, second = map(trained, runs)
    assert first.history == second.history
