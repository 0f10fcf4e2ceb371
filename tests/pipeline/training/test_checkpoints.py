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

from pipeline.config.compose import compose
from pipeline.config.groups import config_groups
from pipeline.config.schema import RunConfig
from pipeline.progress import short_number
from pipeline.training.checkpoints import Checkpoint, CheckpointStore, free
from pipeline.training.identity import resolve
from pipeline.training.result import RunResult
from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.helpers.training import resume_key, trained

Compose = Callable[..., RunConfig]
LINE = ["data=line", "trainer=line", "optimizer=sgd", "optimizer.momentum=0.9"]
HORSE = ["trainer=horse", "optimizer=rmsprop", "data.limit=6"]
ANIMATED = ["model.dropout=0.3", "model.l2=0.001"]
AUGMENTED = ["model.augmentation={flip: both, shift: 0.1, rotate: 10, zoom: 0.1}"]
TIMES = ("seconds", "seconds_per_epoch")


def numbers(result: RunResult) -> tuple[Any, ...]:
    """All that a run gave but its times."""
    return result.history, {k: v for k, v in result.final.items() if k not in TIMES}, result.stopped


def weights(kept: CheckpointStore, epoch: int) -> list[bytes]:
    found = kept.latest(epoch)
    assert found is not None
    assert found.epoch == epoch
    return [array.tobytes() for array in found.arrays]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("name", [name for name in config_groups()["model"] if name != "builder"])
def test_every_model_continues_bit_for_bit(
    name: str, precision: str, grey: list[str], coloured: list[str], tmp_path: Path
) -> None:
    fitting = {"horse_conv": [*coloured, *HORSE], "line": LINE}
    overrides = fitting.get(name, [*grey, "data.limit=48", "trainer.batch_size=16"])
    continues_bit_for_bit([f"model={name}", *overrides, f"trainer.precision={precision}"], tmp_path)


def continues_bit_for_bit(overrides: list[str], folder: Path) -> None:
    """Assert that three epochs equal one and two more: with dropout and augmentation, which draw numbers by chance."""
    images = [] if "model=line" in overrides else AUGMENTED
    animated = [] if compose(RunConfig, "train", overrides).model.builder else ANIMATED  # which builders do not know
    three = compose(RunConfig, "train", [*overrides, *animated, *images, "trainer.threads=1", "trainer.epochs=3"])
    straight, broken = CheckpointStore(folder / "straight"), CheckpointStore(folder / "broken")

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch == 1:  # as far as a run came that is killed now
            shutil.copytree(straight.folder, broken.folder)
        return True

    whole = trained(three, on_epoch, checkpoints=straight)
    epochs: list[int] = []
    continued = trained(three, checkpoints=broken, on_steps=lambda epoch, *rest: epochs.append(epoch))
    assert numbers(continued) == numbers(whole)
    assert weights(broken, 3) == weights(straight, 3)
    assert set(epochs) == {2, 3}, "the first epoch was not trained again"


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", ["epoch", "once", "none"])
def test_whatever_the_order_a_run_continues_bit_for_bit(shuffle: str, config: Compose, tmp_path: Path) -> None:
    given = ["data.limit=60", f"trainer.shuffle={shuffle}"]
    trained(config(*given, "trainer.epochs=1"), checkpoints=CheckpointStore(tmp_path))
    continued = trained(config(*given, "trainer.epochs=3"), checkpoints=CheckpointStore(tmp_path))
    assert numbers(continued) == numbers(trained(config(*given, "trainer.epochs=3")))


def test_a_finished_run_is_not_trained_again(config: Compose, tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path)
    whole = trained(config(), checkpoints=kept)
    steps: list[int] = []
    epochs: list[int] = []
    again = trained(config(), lambda e, m: not epochs.append(e), lambda *told: steps.append(1), checkpoints=kept)  # type: ignore[func-returns-value]
    assert numbers(again) == numbers(whole)
    assert (epochs, steps) == ([1, 2], [])


def test_a_run_that_was_stopped_is_revived(config: Compose, tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path)
    pruned = trained(config("trainer.epochs=3"), lambda epoch, metrics: epoch < 2, checkpoints=kept)
    assert (pruned.stopped, pruned.epochs) == ("asked", 2)
    revived = trained(config("trainer.epochs=3"), checkpoints=kept)
    assert numbers(revived) == numbers(trained(config("trainer.epochs=3")))


def test_stopping_at_an_accuracy_knows_the_epochs_behind_it(config: Compose, tmp_path: Path) -> None:
    stops = ["trainer.epochs=8", "trainer.stop_at_accuracy=0.7"]
    whole = trained(config(*stops, "model.filters=16"))
    assert 1 < whole.epochs < 8
    kept = CheckpointStore(tmp_path)
    trained(config(f"trainer.epochs={whole.epochs}", "model.filters=16"), checkpoints=kept)
    trained(config("trainer.epochs=8", "model.filters=16"), checkpoints=kept)
    assert numbers(trained(config(*stops, "model.filters=16"), checkpoints=kept)) == numbers(whole)


def test_what_was_pruned_behind_its_end_is_pruned_again(config: Compose, tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path)
    trained(config("trainer.epochs=3"), checkpoints=kept)
    again = trained(config("trainer.epochs=3"), lambda epoch, metrics: False, checkpoints=kept)
    assert (again.stopped, again.epochs) == ("asked", 1)


def test_a_damaged_checkpoint_is_ignored(config: Compose, tmp_path: Path) -> None:
    kept = CheckpointStore(tmp_path)
    trained(config("trainer.epochs=1"), checkpoints=kept)
    trained(config("trainer.epochs=3"), checkpoints=kept)
    path = kept.path(3)
    content = bytearray(path.read_bytes())
    for damage in (content[:100], content[:10], b"", bytes([*content[:-1], content[-1] ^ 1])):
        path.write_bytes(damage)
        found = kept.latest(3)
        assert found is not None
        assert found.epoch == 1
        assert not path.exists()


def test_only_the_newest_and_the_ends_stay(config: Compose, tmp_path: Path) -> None:
    trained(config("trainer.epochs=4"), checkpoints=CheckpointStore(tmp_path))
    assert CheckpointStore(tmp_path).epochs() == [4]
    trained(config("trainer.epochs=6"), checkpoints=CheckpointStore(tmp_path))
    assert sorted(CheckpointStore(tmp_path).epochs()) == [4, 6]


def test_resume_keys_differ_by_all_but_epochs() -> None:
    base = resume_key(compose(RunConfig, "train", SMALL), "sha")
    for same in ("trainer.epochs=9", "trainer.stop_at_accuracy=0.5", "trainer.threads=2", "store.root=elsewhere"):
        assert resume_key(compose(RunConfig, "train", [*SMALL, same]), "sha") == base
    for other in ("seed=1", "model.filters=5", "model.l2=0.1", "trainer.batch_size=7", "optimizer.learning_rate=0.1"):
        assert resume_key(compose(RunConfig, "train", [*SMALL, other]), "sha") != base
    assert resume_key(compose(RunConfig, "train", SMALL), "other") != base


def test_checkpoints_fill_no_more_than_asked(tmp_path: Path) -> None:
    import os

    size = 0
    for number, name in enumerate("abc"):
        path = CheckpointStore(tmp_path / name).save(
            Checkpoint(1, [np.zeros(1000, np.float32)], {"train/loss": [1.0]}, [0.1])
        )
        os.utime(path, (number, number))
        size = path.stat().st_size
    assert free(tmp_path, 2.5 * size / 2**30) == (1, size)
    assert not (tmp_path / "a").exists(), "the one used longest ago went first"
    assert free(tmp_path, 0.0, in_use=[tmp_path / "b"]) == (1, size)
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
    reached = CheckpointStore(folder).latest(25)
    assert reached is not None
    assert 6 <= reached.epoch < 25
    assert main(["train", *overrides, "store.log_model=none"]) == 0
    ended = CheckpointStore(folder).latest(25)
    assert ended is not None
    assert ended.seconds[: reached.epoch] == reached.seconds, "no epoch that was trained is trained again"
    straight = CheckpointStore(root / "straight")
    never_killed = trained(config("trainer.epochs=25", "model.dropout=0.2"), checkpoints=straight)
    assert f"loss {short_number(never_killed.metrics['test/loss'])} (train" in capsys.readouterr().out
    assert ended.history == never_killed.history
    assert weights(CheckpointStore(folder), 25) == weights(straight, 25), "another process gives the same to the bit"


@pytest.mark.slow
def test_two_threads_continue_bit_for_bit_too(root: Path) -> None:
    told = ["data=digits", "model.padding=same", "model.filters=64", "data.limit=600", "model.dropout=0.2"]
    told += ["trainer.threads=2", "store.log_model=none"]
    code = "import sys\nfrom sweeps.cli.main import main\n"
    code += "for store, epochs in (('broken', 1), ('broken', 3), ('straight', 3)):\n"
    code += "    assert main(['train', *sys.argv[1:], f'trainer.epochs={epochs}', f'store.root={store}']) == 0\n"
    subprocess.run([sys.executable, "-c", code, *told], check=True, capture_output=True)
    broken, straight = (CheckpointStore(next(Path(store, "checkpoints").iterdir())) for store in ("broken", "straight"))
    assert weights(broken, 3) == weights(straight, 3)


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
                CheckpointStore(tmp_path / f"{number}").save(state)
            for number in range(20):
                CheckpointStore(tmp_path / f"{number}").remove(1)
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
        CheckpointStore(tmp_path).save(Checkpoint(1, [], {"train/loss": [1.0]}, [0.1]))
    assert [path.name for path in tmp_path.iterdir()] == ["1.ckpt"]


def test_what_is_resumed_was_computed_with_as_many_threads(config: Compose) -> None:
    one, two, again = (resolve(config(), "data", threads).checkpoints.folder for threads in (1, 2, 2))
    assert one != two == again


def test_the_end_of_another_run_is_not_removed_on_the_way(config: Compose, tmp_path: Path) -> None:
    kept, other = CheckpointStore(tmp_path / "chain"), CheckpointStore(tmp_path / "other")
    trained(config(), checkpoints=other)

    def on_epoch(epoch: int, metrics: dict[str, float]) -> bool:
        if epoch == 1:  # meanwhile another process ends a run of two epochs
            shutil.copy(other.path(2), kept.path(2))
        return True

    trained(config("trainer.epochs=4"), on_epoch, checkpoints=kept)
    assert sorted(kept.epochs()) == [2, 4]


def test_a_run_that_keeps_nothing_frees_nothing(root: Path) -> None:
    assert main(["train", *SMALL, "trainer.epochs=1", "store.log_model=none"]) == 0
    assert main(["train", *SMALL, "trainer.epochs=1", "store.log_model=none", "seed=1", "checkpoints.max_gib=0"]) == 0
    assert len(list((root / "checkpoints").glob("*/1.ckpt"))) == 1


def test_none_are_kept_where_none_are_wanted(root: Path) -> None:
    assert main(["train", *SMALL, "trainer.epochs=1", "checkpoints.max_gib=0", "store.log_model=none"]) == 0
    assert not (root / "checkpoints").exists()
