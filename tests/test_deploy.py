"""deploy/ and the pages on clusters and stores: commands are right, agree with the project, and none holds a secret."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.cli.main import _parse
from sweeps.config.ablation import compose_ablation

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGES = [ROOT / "docs" / "how-to" / name for name in ("cluster.md", "team-store.md")]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield file and words of every `convsweep` command."""
    for path in (*DEPLOY.glob("*.*"), *PAGES):
        text = re.sub(r"\\\n[ #]*|\n(?= +store\.)", " ", path.read_text()).replace('"$@"', "ablate demo")
        for line in re.findall(r"(?:^|[ :#])convsweep ((?:ablate|copy-store|train|study) .*)", text, re.MULTILINE):
            yield path.name, shlex.split(line, comments=True)


def test_every_command_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.team.org:5000")
    monkeypatch.setenv("CONVSWEEP_OPTUNA_URL", "postgresql+psycopg://convsweep@db.team.org/optuna")
    seen = []
    for name, words in commands():
        _parse(words)
        if words[0] == "ablate":
            composed = compose_ablation(words[1], words[2:]).sweep.config
            seen.append((name, composed.backend.address, composed.store.optuna_url))
    assert {name for name, *_ in seen} == {"compose.yaml", "kuberay.yaml", "slurm.sh", "cluster.md", "team-store.md"}
    assert ("compose.yaml", "auto", "postgresql+psycopg://convsweep@postgres/optuna") in seen
    assert ("kuberay.yaml", "auto", "postgresql+psycopg://convsweep@postgres/optuna") in seen


def test_the_compose_file_publishes_to_this_machine_alone_and_holds_no_password() -> None:
    composed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    published = [port for service in composed["services"].values() for port in service.get("ports", ())]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    secrets = [
        value
        for service in composed["services"].values()
        for name, value in service["environment"].items()
        if re.search("PASSWORD|TOKEN", name)
    ]
    assert len(secrets) == 6
    assert all(re.fullmatch(r"\$\{\w+:\?.+\}", secret) for secret in secrets), "from .env, or nothing starts"


def test_mlflow_and_optuna_have_a_database_each() -> None:
    composed: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = composed["services"]
    first = services["postgres"]["environment"]["POSTGRES_DB"]
    assert f"convsweep@postgres/{first} " in services["mlflow"]["command"]
    assert "CREATE DATABASE optuna;" in (DEPLOY / "postgres" / "optuna.sql").read_text()
    assert services["optuna-dashboard"]["command"].endswith("convsweep@postgres/optuna")


def test_versions_and_extras_are_the_projects() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    _, job = yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pinned["ray"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"/src\[([\w,]+)\]", (DEPLOY / "Dockerfile").read_text())
    assert {"ray", "postgres", "dashboard"} == set(installed.split(",")) <= set(extras)


def test_no_table_is_left_to_be_filled_in() -> None:
    for page in (*PAGES, ROOT / "docs" / "explanation" / "scaling.md"):
        assert not re.findall(r"^[A-Z_]{6,}$", page.read_text(), re.MULTILINE)


def test_the_slurm_script_is_a_shell_script() -> None:
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sh"], check=True)
