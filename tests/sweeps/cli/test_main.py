"""The command as a user meets it: exit codes, messages, and nothing written where something is refused."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from pipeline.config.groups import CONF
from sweeps.cli.completion import candidates
from sweeps.cli.console import open_console
from sweeps.cli.main import main


def convsweep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sweeps.cli.main", *arguments], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "model.filters=0"], "model.filters=0 is not allowed"),
        (["train", "model.conv_layers=9"], "conv_4: a 3x3 window does not fit into 1x1"),
        (["train", "+new=1"], "new is not a config key"),
        (["ablate", "filter_cuont"], "did you mean filter_count?"),
        (["ablate", "filter_count", "seeds=[]"], "seeds=[] is not allowed"),
        (["ablate", "filter_count", "seeds=[1,1]"], "different whole numbers"),
        (["ablate", "filter_count", "workers=0"], "workers=0 is not allowed"),
        (["ablate", "filter_count", "model.filters=8"], "is what the ablation filter_count varies"),
        (["ablate", "filter_count", "data=digits"], "trial conv_16: pool_2: a 2x2 window does not fit into 1x1"),
        (["ablate", "filter_count", "ablation.name=a/b"], "ablation.name=a/b is not allowed"),
        (["ablate"], "required: name"),
        (["train", "--epochs", "5"], "say trainer.epochs=5"),
        (["train", "--lr=0.1"], "say optimizer.learning_rate=0.1"),
        (["train", "lr=0.1"], "did you mean optimizer.learning_rate?"),
        (["train", "-m", "n_trials=3", "seed=0,1"], "hydra.sweeper.n_trials with -m"),
        (["list", "-v", "-q"], "not allowed with"),
        (["nonsense"], "invalid choice"),
        (["ui"], "there is nothing in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_exit_with_2_and_write_nothing(arguments: list[str], told: str, tmp_path: Path) -> None:
    done = convsweep(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["seeds=[0]", "trainer.epochs=2", "demo"],
        ["demo", "seeds=[0]", "trainer.epochs=2"],
        ["seeds=[0]", "--dry-run", "demo", "trainer.epochs=2"],
        ["seeds=[0]", "demo", "trainer.epochs=2", "demo"],
    ],
    ids=" ".join,
)
def test_overrides_count_wherever_they_stand(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", *words, "--dry-run"]) == 0
    assert "4 runs to train, 0 known" in capsys.readouterr().out
    assert main(["study", "study.n_trials=3", "smoke", "--dry-run"]) == 0
    assert "3 trials x 1 seed;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ablate", "trainer.epochs=5"], "required: name"),
        (["ablate", "store.root=elsewhere"], "required: name"),
        (["study", "study.n_trials=3"], "required: name"),
        (["study", "smoke", "smoke"], "takes one name"),
        (["report", "store.root=elsewhere", "demo"], "no store in"),
        (["explain", "store.root=elsewhere", "abc"], "no store in"),
        (["explain", "store.root=elsewhere"], "required: name"),
        (["predict", "store.root=elsewhere", "demo@best"], "at least one file"),
        (["prune-cache", "store.root=elsewhere"], "no store in"),
        (["ui", "store.root=elsewhere", "demo"], "there is nothing in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_name_is_wanted_and_found_among_overrides(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_thousands_of_configs_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = ["model.filters=range(1,51)", "optimizer.learning_rate=range(0.001,0.0205,0.001)"]
    assert main(["train", "-m", "data=digits", "model.padding=same", *grid, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "1,000 configs, of which the first 20 and the last 5 are shown" in out
    assert "1000 runs to train" in out
    assert len(out.splitlines()) < 40


def test_help_and_list(tmp_path: Path) -> None:
    assert "convsweep ablate filter_count" in convsweep("--help", cwd=tmp_path).stdout
    listed = convsweep("list", cwd=tmp_path).stdout
    for name in (
        "conv",
        "week3_conv",
        "fashion_mnist",
        "filter_count",
        "60,000 + 10,000 grey images of clothes",
        "3 minutes",
    ):
        assert name in listed


def test_dry_run_prints_layers_splits_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "model.filters=64", "data.val_fraction=0.1", "--dry-run"]) == 0
    told = capsys.readouterr().out
    for part in ("26x26x64", "Total params: 243,786", "train 54,000, val 6,000, test 10,000", "expected time"):
        assert part in told
    assert list(tmp_path.iterdir()) == []


def test_python_m_pipeline_train_is_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.train", "--dry-run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, "Total params: 113,386" in done.stdout) == (0, True)


def test_a_set_that_cannot_be_had_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONVSWEEP_DATA_DIR", raising=False)
    assert main(["train", "data=horse_or_human", "model=horse_conv", "trainer=horse"]) == 1
    assert "cannot be had" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_error_message_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--from", "x\x1b[31m.yaml"]) == 2
    error = capsys.readouterr().err
    assert r"--from x\x1b[31m.yaml cannot be read" in error
    assert "\x1b" not in error


def test_a_terminal_of_another_encoding_gets_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="latin-1"))
    open_console().print("0.9 ± 0.1 ✓")
    sys.stdout.flush()
    assert written.getvalue().decode("latin-1") == "0.9 ± 0.1 ?\n"


@pytest.mark.parametrize("override", ["data.keras_npz=/my.npz", "data.folder=/my"])
def test_a_path_that_would_name_no_other_set_is_refused(override: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", override]) == 2
    assert f"{override} is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "words", "told"),
    [
        (
            "MLFLOW_TRACKING_URI",
            ["report", "demo"],
            "MLFLOW_TRACKING_URI is set, but store=local: results are in mlruns",
        ),
        ("CONVSWEEP_OPTUNA_URL", ["ui"], "CONVSWEEP_OPTUNA_URL is set, but store=local: results are in mlruns"),
        ("MLFLOW_TRACKING_URI CONVSWEEP_OPTUNA_URL", ["ui"], "MLFLOW_TRACKING_URI and CONVSWEEP_OPTUNA_URL are set"),
        ("MLFLOW_TRACKING_URI", ["report", "demo", "store.tracking_uri=sqlite:///none.db"], ""),
        ("MLFLOW_TRACKING_URI", ["report", "demo", "store=local"], ""),
        ("MLFLOW_TRACKING_URI", ["init", "--help"], ""),
        ("", ["report", "demo"], ""),
    ],
)
def test_servers_that_are_set_up_but_not_used_are_told_of_once(
    variables: str,
    words: list[str],
    told: str,
    empty: Path,
    no_servers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in variables.split():
        monkeypatch.setenv(name, "http://host:5000")
    with suppress(SystemExit):
        assert main(words) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "store=local" in line]
    assert len(lines) == bool(told)
    assert all(line.startswith(f"convsweep: {told}") for line in lines)
    assert all(line.endswith("(store=server for the server's)") for line in lines)


def test_a_store_that_ones_own_files_name_is_used_without_a_word(
    project: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    project(
        "store/local.yaml", f"{(CONF / 'store' / 'local.yaml').read_text()}".replace(": null", ": sqlite:///x.db", 1)
    )
    assert main(["report", "demo"]) == 2
    assert "is set, but" not in capsys.readouterr().err


def test_the_bare_command_shows_help_and_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.count("convsweep ablate filter_count") == 2
    assert re.search(r"^convsweep \d+\.\d+", told, re.MULTILINE)


@pytest.mark.parametrize("seeds", ["seeds=2", "seeds=0,1", "seeds=[0,1]"])
def test_seeds_are_asked_for_in_one_way_by_all_commands(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "demo", seeds, "--dry-run"]) == 0
    assert "8 runs to train" in capsys.readouterr().out
    assert main(["study", "smoke", seeds, "--dry-run"]) == 0
    assert "20 trials x 2 seeds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prefix", "command", "expected"),
    [
        ("filter", "ablate", ["filter_count"]),
        ("smo", "study", ["smoke"]),
        ("seeds=", "ablate", ["seeds=auto"]),
        ("model=le", "train", ["model=lecture_conv", "model=lecture_dense", "model=lenet"]),
        ("trainer.eva", "train", ["trainer.evaluate_test=", "trainer.eval_batch_size="]),
        ("trainer.evaluate_test=", "train", ["trainer.evaluate_test=true", "trainer.evaluate_test=false"]),
        ("model.activation=s", "train", [f"model.activation={name}" for name in ("selu", "silu", "sigmoid")]),
        ("nonsense=", "train", []),
    ],
)
def test_words_are_completed(prefix: str, command: str, expected: list[str]) -> None:
    assert sorted(candidates(prefix, argparse.Namespace(command=command))) == sorted(expected)


@pytest.mark.parametrize(
    ("line", "told"),
    [("convsweep abl", "ablate "), ("convsweep ablate filt", "filter_count "), ("convsweep completion f", "fish ")],
)
def test_a_shell_that_asks_is_answered(line: str, told: str, tmp_path: Path) -> None:
    asking = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1"}
    asking |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "told")}
    subprocess.run([sys.executable, "-m", "sweeps.cli.main"], env=os.environ | asking, check=True, timeout=60)
    assert (tmp_path / "told").read_text() == told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_ARGCOMPLETE" in capsys.readouterr().out


@pytest.mark.slow
def test_a_quiet_sweep_prints_nothing_and_a_verbose_one_a_line_per_epoch(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "-m", "data=digits", "model=dense", "trainer.epochs=2", "data.limit=300", "seed=0,1"]
    assert main([*words, "-q"]) == 0
    told = capsys.readouterr()
    assert told.out + told.err == ""
    assert main([*words, "optimizer.learning_rate=0.1", "-v"]) == 0
    assert capsys.readouterr().out.count("epoch 1/2 train loss") == 2
    assert main([*words, "optimizer.learning_rate=0.2"]) == 0
    told = capsys.readouterr()
    assert "epoch 1/2" not in told.out
    assert re.search(r"seed=\d: finished, test \.\d{4} train \.\d{4} \(2/2 runs\)", told.out)
    assert re.search(
        r"Highest mean test accuracy measured: base, 0\.\d{4} over 2 seeds\.[^:]*:[^:]*\n  to train", told.out
    )
