"""No password of a store's address is written anywhere, or shown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline.config.compose import compose_from
from pipeline.config.overrides import is_of_store
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.run import run_name
from pipeline.system.messages import hide, masked
from pipeline.tracking.tracker import Tracker
from pipeline.training.identity import resolve
from sweeps.cli.main import main
from tests.conftest import SMALL
from tests.sweeps.config.test_ablation import QUICK

pytestmark = pytest.mark.usefixtures("worker_threads")
SECRET = "hunter2secret"
WORDS = [
    f"store.tracking_uri=http://user:{SECRET}@127.0.0.1:9",
    f"++store.optuna_url=postgresql://user:{SECRET}@127.0.0.1:9/db",
]


def holding(folder: Path, secret: str = SECRET) -> list[str]:
    """Files, databases among them, in which the secret stands."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_overrides_of_the_store_are_known_by_any_spelling() -> None:
    spellings = [*WORDS, "+store.root=x", "store=local", "~store.tracking_uri=x"]
    assert all(map(is_of_store, spellings))
    assert not is_of_store("model.filters=64")
    assert run_name([*spellings, "model.filters=4"], 0) == "filters=4 seed=0"


def test_a_runs_name_rounds_what_a_sampler_drew() -> None:
    drawn = ["optimizer.learning_rate=0.008626639503320736", "model.l2=1.23456789e-05", "model.dropout=0.12345"]
    assert run_name(drawn, 3) == "learning_rate=0.008627 l2=1.235e-05 dropout=0.12345 seed=3"


def test_a_run_says_nothing_of_its_store(root: Path, config: Callable[..., RunConfig], tmp_path: Path) -> None:
    told = config(WORDS[0], WORDS[1].lstrip("+"))
    tracker = Tracker(StoreConfig(str(root), None, None, 5.0, "none", 5000))
    run = tracker.open_run(resolve(told, "0" * 64), "train", "name", {}, [*WORDS, "seed=0"])
    tracker.close(run, "FAILED", f"no answer of {WORDS[0]}", f"Traceback of {WORDS[1]}")
    assert holding(tmp_path) == []
    assert not [key for key in tracker.get(run).params if key.startswith("store")]
    assert yaml.safe_load(tracker.read_file(run, "overrides.yaml") or "") == ["seed=0"]
    (tmp_path / "config.yaml").write_text(tracker.read_file(run, "config.yaml") or "")
    assert compose_from(tmp_path / "config.yaml", []).store.root == "mlruns", (
        "where results go is this machine's affair"
    )


def test_a_config_of_an_earlier_version_says_where_its_store_was(
    config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config("store.root=elsewhere"))))
    assert compose_from(tmp_path / "best.yaml", []).store.root == "mlruns"


@pytest.mark.parametrize(
    "word",
    [
        f"store.tracking_uri=http://user:{SECRET}@127.0.0.1:9",
        f"store.tracking_uri=ftp://user:{SECRET}@host/",
        f"store.optuna_url=postgresql+nothing://user:{SECRET}@127.0.0.1:9/db",
        f"store.optuna_url=postgresql://user:{SECRET}@127.0.0.1:port/db",
        f"'store.optuna_url=postgresql://user:{SECRET}@host/?x=[(",
        f"store.no_such_key=postgresql://user:{SECRET}@host/",
        f"store=http://user:{SECRET}@host/",
    ],
)
def test_messages_show_no_password(
    tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "smoke", "--dry-run", "store.retry_seconds=0.1", word]) == 2
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert told.err
    assert holding(tmp_path) == []


@pytest.mark.slow
def test_no_file_and_no_table_of_a_store_holds_a_password(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # SQLite takes parameters that it does not know, and so a password.
    store = [
        f"store.{key}='sqlite+pysqlite:///file:{root / file}?uri=true&password={SECRET}'"
        for key, file in (("tracking_uri", "mlflow.db"), ("optuna_url", "optuna.db"))
    ]
    assert main(["train", *SMALL, *store]) == 0
    assert main(["ablate", "demo", *QUICK, "seeds=[0]", *store]) == 0
    assert main(["study", "smoke", "study.n_trials=1", "study.confirm_seeds=[]", *QUICK, *store]) == 0
    two = ["model.filters=3,4", "hydra.sweeper.workers=1"]
    assert main(["train", "-m", *SMALL, "store.log_model=none", *two, *store]) == 0
    for name in ("demo", "smoke"):
        assert main(["report", name, *store]) == 0
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert (root / "reports" / "demo" / "best.yaml").exists()
    assert holding(root.parent) == []
    parent = Tracker(StoreConfig(str(root), None, None, 5.0, "none", 5000)).find_sweep("demo")
    assert parent
    assert json.loads(parent.tags["convsweep.command"]) == [
        *("ablate", "demo"),
        *(word for word in [*QUICK, "seeds=[0]"] if not is_of_store(word)),
    ]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hun ter2@127.0.0.1:9/x",
        "postgresql://u:hun'ter2@127.0.0.1:9/x",
        "postgresql://u:hun<ter2@127.0.0.1:9/x",
        f"bad://u:hunter2{'x' * 250}@127.0.0.1/x",
        "mssql+pyodbc:///?odbc_connect=PWD%3Dhunter2xyz",
    ],
)
def test_a_password_of_odd_signs_is_not_shown(address: str, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f'store.tracking_uri="{address}"', "--dry-run"]) == 2
    told = capsys.readouterr()
    assert "hun" not in told.err + told.out
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://u:hunter2xyz/a@host/x", "Failed to parse: 'u:hunter2xyz' is not a valid host or port"),
        ("http://hunter2xyz@host/x", "no answer of hunter2xyz@host"),
        ("postgresql://u:hunter2%20xyz@host/x", "password authentication failed: hunter2 xyz"),
        ("postgresql://host/x?password=hunter2xyz", "unknown: hunter2xyz"),
    ],
)
def test_what_a_library_repeats_of_a_password_is_hidden(address: str, said: str) -> None:
    hide(address)
    assert "hunter2" not in masked(said)
    hide("postgresql://me:a@host/x")
    assert masked("a man, me") == "a man, me", "what is this short would hide parts of words"
