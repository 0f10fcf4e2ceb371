"""Epochs that were trained are never trained again: a continued run equals one that was never stopped, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.schema import RunConfig, compose, config_groups
from pipeline.run import chain_of
from pipeline.training.checkpoints import Chain, Checkpoint, free
from pipeline.training.identity import chain
from pipeline.training.trainer import RunResult, train
from sweeps.cli.main import main
from tests.conftest import SMALL

Compose = Callable[..., RunConfig]
LINE = ["data=line", "trainer=line", "optimizer=sgd", "optimizer.momentum=0.9"]
HORSE = ["trainer=horse", "optimizer=rmsprop", "data.limit=6"]
ANIMATED = ["model.dropout=0.3", "model.l2=0.001"]
AUGMENTED = ["model.augmentation={flip: both, shift: 0.1, rotate: 10, zoom: 0.1}"]
TIMES = ("seconds", "seconds_per_epoch")


def numbers(result: RunResult) -> tuple[Any, ...]:
    """All that a run gave but its times."""
    return result.history, {k: v for k, v in result.final.items() if k not in TIMES}, result.stopped


def weights(kept: Chain, epoch: int) -> list[bytes]:
    found = kept.latest(epoch)
    assert found is not None
    assert found.epoch == epoch
    return [array.tobytes() for array in found.arrays]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", config_groups()["model"])
def test_every_model_continues_bit_for_bit(
    name: str, precision: str, grey: list[str], coloured: list[str], tmp_path: Path
) -> None:
    fitting = {"horse_conv": [*coloured, *HORSE], "line": LINE}
    overrides = fitting.get(name, [*grey, "data.limit=48", "trainer.batch_size=16"])
    continues_bit_for_bit([f"model={name}", *overrides, f"trainer.precision={precision}"], tmp_path)


def continues_bit_for_bit(overrides: list[str], folder: Path) -> None:
    """Assert that three epochs equal one and two more: with dropout and augmentation, which draw numbers by chance."""
    pictures = [] if "model=line" in overrides else AUGMENTED
    told = [*overrides, *ANIMATED, *pictures, "trainer.threads=1", "trainer.epochs=3"]
    three = compose(RunConfig, "train", told)
    straight, broken = Chain(folder / "straight"), Chain(folder / "broken")
    whole = train(three, chain=straight, milestones=(1,))
    broken.folder.mkdir()
    shutil.copy(straight.path(1), broken.path(1))
    epochs: list[int] = []
    continued = train(three, chain=broken, on_steps=lambda epoch, *rest: epochs.append(epoch))
    assert numbers(continued) == numbers(whole)
    assert weights(broken, 3) == weights(straight, 3)
    assert set(epochs) == {2, 3}, "the first epoch was not trained again"


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["epoch", "once", "none"])
def test_whatever_the_order_a_run_continues_bit_for_bit(shuffle: str, config: Compose, tmp_path: Path) -> None:
    given = ["data.limit=60", f"trainer.shuffle={shuffle}"]
    train(config(*given, "trainer.epochs=1"), chain=Chain(tmp_path))
    continued = train(config(*given, "trainer.epochs=3"), chain=Chain(tmp_path))
    assert numbers(continued) == numbers(train(config(*given, "trainer.epochs=3")))


def test_a_finished_run_is_not_trained_again(config: Compose, tmp_path: Path) -> None:
    kept = Chain(tmp_path)
    whole = train(config(), chain=kept)
    steps: list[int] = []
    epochs: list[int] = []
    again = train(config(), lambda e, m: not epochs.append(e), lambda *told: steps.append(1), chain=kept)  # type: ignore[func-returns-value]
    assert numbers(again) == numbers(whole)
    assert (epochs, steps) == ([1, 2], [])


def test_shorter_runs_end_on_the_way_of_the_longest(config: Compose, tmp_path: Path) -> None:
    found: dict[int, RunResult] = {}
    train(config("trainer.epochs=4"), chain=Chain(tmp_path), milestones=(1, 3), on_milestone=found.__setitem__)
    assert {e: numbers(r) for e, r in found.items()} == {
        e: numbers(train(config(f"trainer.epochs={e}"))) for e in (1, 3)
    }
    assert sorted(Chain(tmp_path).epochs()) == [1, 3, 4]


def test_a_run_that_was_stopped_is_revived(config: Compose, tmp_path: Path) -> None:
    kept = Chain(tmp_path)
    pruned = train(config("trainer.epochs=3"), lambda epoch, metrics: epoch < 2, chain=kept)
    assert (pruned.stopped, pruned.epochs) == ("asked", 2)
    revived = train(config("trainer.epochs=3"), chain=kept)
    assert numbers(revived) == numbers(train(config("trainer.epochs=3")))


def test_stopping_at_an_accuracy_knows_the_epochs_behind_it(config: Compose, tmp_path: Path) -> None:
    stops = ["trainer.epochs=8", "trainer.stop_at_accuracy=0.7"]
    whole = train(config(*stops, "model.filters=16"))
    assert 1 < whole.epochs < 8
    kept = Chain(tmp_path)
    train(config("trainer.epochs=8", "model.filters=16"), chain=kept, milestones=(whole.epochs,))
    assert numbers(train(config(*stops, "model.filters=16"), chain=kept)) == numbers(whole)


def test_what_was_pruned_behind_its_end_is_pruned_again(config: Compose, tmp_path: Path) -> None:
    kept = Chain(tmp_path)
    train(config("trainer.epochs=3"), chain=kept)
    again = train(config("trainer.epochs=3"), lambda epoch, metrics: False, chain=kept)
    assert (again.stopped, again.epochs) == ("asked", 1)


def test_a_damaged_checkpoint_is_ignored(config: Compose, tmp_path: Path) -> None:
    kept = Chain(tmp_path)
    train(config("trainer.epochs=3"), chain=kept, milestones=(1,))
    path = kept.path(3)
    content = bytearray(path.read_bytes())
    for damage in (content[:100], content[:10], b"", bytes([*content[:-1], content[-1] ^ 1])):
        path.write_bytes(damage)
        found = kept.latest(3)
        assert found is not None
        assert found.epoch == 1
        assert not path.exists()


def test_only_the_newest_and_the_ends_stay(config: Compose, tmp_path: Path) -> None:
    train(config("trainer.epochs=4"), chain=Chain(tmp_path))
    assert Chain(tmp_path).epochs() == [4]
    train(config("trainer.epochs=6"), chain=Chain(tmp_path))
    assert sorted(Chain(tmp_path).epochs()) == [4, 6]


def test_chains_differ_by_all_but_epochs() -> None:
    base = chain(compose(RunConfig, "train", SMALL), "sha")
    for same in ("trainer.epochs=9", "trainer.stop_at_accuracy=0.5", "trainer.threads=2", "store.root=elsewhere"):
        assert chain(compose(RunConfig, "train", [*SMALL, same]), "sha") == base
    for other in ("seed=1", "model.filters=5", "model.l2=0.1", "trainer.batch_size=7", "optimizer.learning_rate=0.1"):
        assert chain(compose(RunConfig, "train", [*SMALL, other]), "sha") != base
    assert chain(compose(RunConfig, "train", SMALL), "other") != base


def test_checkpoints_fill_no_more_than_asked(tmp_path: Path) -> None:
    import os

    size = 0
    for number, name in enumerate("abc"):
        path = Chain(tmp_path / name).save(Checkpoint(1, [np.zeros(1000, np.float32)], {"train/loss": [1.0]}, [0.1]))
        os.utime(path, (number, number))
        size = path.stat().st_size
    assert free(tmp_path, 2.5 * size / 2**30) == (1, size)
    assert not (tmp_path / "a").exists(), "the one used longest ago went first"
    assert free(tmp_path, 0.0, but=[tmp_path / "b"]) == (1, size)
    assert [path.parent.name for path in tmp_path.glob("*/*")] == ["b"]
    assert free(tmp_path, 0.0) == (1, size)
    assert free(tmp_path, 0.0) == (0, 0)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(root: Path, config: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SMALL, "trainer.epochs=25", "model.dropout=0.2"]
    command = [sys.executable, "-m", "sweeps.cli.main", "train", *overrides, "store.log_model=none"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout or []:
        if "epoch 6/25" in line:
            break
    process.kill()
    process.communicate()
    (folder,) = (root / "checkpoints").iterdir()
    reached = Chain(folder).latest(25)
    assert reached is not None
    assert 6 <= reached.epoch < 25
    assert main(["train", *overrides, "store.log_model=none"]) == 0
    ended = Chain(folder).latest(25)
    assert ended is not None
    assert ended.seconds[: reached.epoch] == reached.seconds, "no epoch that was trained is trained again"
    straight = Chain(root / "straight")
    never_killed = train(config("trainer.epochs=25", "model.dropout=0.2"), chain=straight)
    rows = [row.replace(",", "").split() for row in capsys.readouterr().out.splitlines() if row.startswith("  ")]
    shown = {name: float(value) for name, value in rows}
    for name in ("train/loss", "test/loss", "train_eval/loss"):
        assert shown[name] == pytest.approx(never_killed.metrics[name], abs=5.1e-5)
    assert ended.history == never_killed.history
    assert weights(Chain(folder), 25) == weights(straight, 25), "another process gives the same to the bit"


@pytest.mark.slow
def test_two_threads_continue_bit_for_bit_too(root: Path) -> None:
    def trained(store: str, epochs: int) -> list[bytes]:
        told = ["data=digits", "model.padding=same", "model.filters=64", "data.limit=600", "model.dropout=0.2"]
        told += [f"trainer.epochs={epochs}", "trainer.threads=2", "store.log_model=none", f"store.root={store}"]
        subprocess.run([sys.executable, "-m", "sweeps.cli.main", "train", *told], check=True, capture_output=True)
        (folder,) = Path(store, "checkpoints").iterdir()
        return weights(Chain(folder), epochs)

    trained("broken", 1)
    assert trained("broken", 3) == trained("straight", 3)


@pytest.mark.slow
def test_pruning_frees_the_disk(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, "trainer.epochs=1"]) == 0
    assert list((root / "checkpoints").glob("*/1.ckpt"))
    assert main(["prune-cache", "--keep", "1"]) == 0
    assert "0 checkpoints deleted" in capsys.readouterr().out
    assert main(["prune-cache"]) == 0
    assert "1 checkpoints deleted" in capsys.readouterr().out
    assert not list((root / "checkpoints").iterdir())
    assert main(["prune-cache", "--keep", "-1"]) == 2
    assert main(["prune-cache", "store.root=nowhere"]) == 2


def test_others_may_come_and_go_while_checkpoints_are_freed(tmp_path: Path) -> None:
    ended = threading.Event()

    def come_and_go() -> None:
        state = Checkpoint(1, [np.zeros(10, np.float32)], {"train/loss": [1.0]}, [0.1])
        while not ended.is_set():
            for number in range(20):
                Chain(tmp_path / f"{number}").save(state)
            for number in range(20):
                Chain(tmp_path / f"{number}").remove(1)
                with suppress(OSError):
                    (tmp_path / f"{number}").rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    for _ in range(300):
        free(tmp_path, 1.0)
        free(tmp_path, 0.0)
    ended.set()
    other.join()


def test_what_cannot_be_written_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "1.ckpt").mkdir()
    with pytest.raises(IsADirectoryError):
        Chain(tmp_path).save(Checkpoint(1, [], {"train/loss": [1.0]}, [0.1]))
    assert [path.name for path in tmp_path.iterdir()] == ["1.ckpt"]


def test_what_is_continued_was_computed_with_as_many_threads(config: Compose) -> None:
    one, two = ({"convsweep.chain": "abc", "convsweep.threads": threads} for threads in "12")
    assert len({kept.folder for tags in (one, two, two) if (kept := chain_of(config(), tags))}) == 2


@pytest.mark.slow
def test_a_run_alone_continues_with_the_threads_of_what_is_kept(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [*(each for each in SMALL if "threads" not in each), "store.log_model=none"]
    assert main(["train", *told, "trainer.epochs=1", "trainer.threads=2"]) == 0, "as in a sweep with few workers"
    assert "kept from an earlier run" not in capsys.readouterr().out
    assert main(["train", *told, "trainer.epochs=3"]) == 0
    assert "epochs 1 to 1 are kept from an earlier run, and not trained again" in capsys.readouterr().out
    assert [path.name.rpartition("-")[2] for path in (root / "checkpoints").iterdir()] == ["2"]
    assert main(["train", *told, "trainer.epochs=2", "trainer.threads=1"]) == 0, "told otherwise, it begins anew"
    assert len(list((root / "checkpoints").iterdir())) == 2


def test_the_end_of_another_run_is_not_removed_on_the_way(config: Compose, tmp_path: Path) -> None:
    kept, other = Chain(tmp_path / "chain"), Chain(tmp_path / "other")
    train(config(), chain=other)

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch == 1:  # meanwhile another process ends a run of two epochs
            shutil.copy(other.path(2), kept.path(2))
        return True

    train(config("trainer.epochs=4"), on_epoch, chain=kept)
    assert sorted(kept.epochs()) == [2, 4]


def test_a_run_that_keeps_nothing_frees_nothing(root: Path) -> None:
    assert main(["train", *SMALL, "trainer.epochs=1", "store.log_model=none"]) == 0
    assert main(["train", *SMALL, "trainer.epochs=1", "store.log_model=none", "seed=1", "checkpoints.keep=0"]) == 0
    assert len(list((root / "checkpoints").glob("*/1.ckpt"))) == 1


def test_none_are_kept_where_none_are_wanted(root: Path) -> None:
    assert main(["train", *SMALL, "trainer.epochs=1", "checkpoints.keep=0", "store.log_model=none"]) == 0
    assert not (root / "checkpoints").exists()
