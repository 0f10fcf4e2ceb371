"""Reports of real, small sweeps: what is judged, written, logged; rebuilt without training; the exit codes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from sweeps.claims.verdicts import CONTRADICTED, INCONCLUSIVE, REPRODUCED
from sweeps.cli.main import main
from sweeps.views import END
from tests.conftest import DEMO

pytestmark = pytest.mark.usefixtures("worker_threads")
REPORT = {"report.html", "report.md", "results.csv", "claims.json", "accuracy_by_filters.png", "loss_by_filters.png"}
REPORT |= {"learning_curves.png", "gap.png", "best.yaml"}


def parent_of(root: Path, sweep: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(sweep).experiment_id], "tags.`convsweep.kind` = 'sweep'")
    return client, runs[0]


def claims_of(root: Path, sweep: str) -> dict[str, dict[str, object]]:
    page = json.loads((root / "reports" / sweep / "claims.json").read_text())
    return {finding["name"]: finding for finding in page["findings"]}


@pytest.mark.slow
def test_an_ablation_is_judged_and_reported(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client, parent = parent_of(demo, "demo")
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} == REPORT
    written = demo / "reports" / "demo"
    assert {path.name for path in written.iterdir()} == REPORT
    claims = claims_of(demo, "demo")
    verdicts = {key: value for key, value in parent.data.tags.items() if key.startswith("convsweep.verdict.")}
    assert verdicts == {f"convsweep.verdict.{name}": claim["verdict"] for name, claim in claims.items()}
    claim = claims["convolution_raises_test_accuracy"]
    with (written / "results.csv").open() as file:
        runs = list(csv.DictReader(file))
    by_trial = {t: [float(run["test/accuracy"]) for run in runs if run["trial"] == t] for t in ("conv_64", "dense_128")}
    assert claim["n"] == 3
    assert claim["estimate"] == pytest.approx(np.mean(by_trial["conv_64"]) - np.mean(by_trial["dense_128"]))
    html, markdown = (written / "report.html").read_text(), (written / "report.md").read_text()
    for text in (html, markdown):
        assert str(claim["verdict"]) in text
        assert "convsweep ablate demo trainer.epochs=1" in text
        assert "SHA-256" in text
        assert all(run["run_id"][:8] in text for run in runs)
    assert all(f"/runs/{run['run_id']}" in html for run in runs)
    note, metrics = parent.data.tags["mlflow.note.content"], parent.data.metrics
    assert f"| {claim['verdict']} |" in note
    assert f"runs/{parent.info.run_id}/artifacts/report.html)" in note
    assert "| conv_64 | n=3 |" in note
    experiment = client.get_experiment(parent.info.experiment_id)
    assert note.startswith(experiment.tags["mlflow.note.content"].removesuffix(END))
    assert {f"mlflow.sharedViewState.{name}" for name in ("curves", "ranking", "cost")} < experiment.tags.keys()
    accuracies: dict[str, list[float]] = {}
    for run in runs:
        accuracies.setdefault(run["trial"], []).append(float(run["test/accuracy"]))
    best = max(float(np.mean(values)) for values in accuracies.values())
    assert metrics["best/test/accuracy"] == pytest.approx(best)
    assert sum(metrics[f"verdicts/{kind}"] for kind in ("reproduced", "contradicted", "inconclusive")) == len(claims)
    assert parent.data.params["model.filters"] == "32"


@pytest.mark.slow
def test_the_page_needs_nothing_from_elsewhere(demo: Path) -> None:
    html = (demo / "reports" / "demo" / "report.html").read_text()
    assert re.findall(r'src="(?!data:image/png;base64,)', html) == []
    assert "<link" not in html
    assert html.count("<script>") == html.count("<script") == 1, "its own few lines"
    assert html.count("data:image/png;base64,") == 3, "the chart is drawn in place of the accuracy's figure"
    assert "prefers-color-scheme: dark" in html
    assert "None" not in html.replace("None of the", "")


@pytest.mark.slow
def test_a_report_is_rebuilt_without_training(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = demo / "reports" / "demo"
    before = {name: (written / name).read_bytes() for name in REPORT}
    (day,) = re.findall(rb"^- written: (\S+) by", before["report.md"], re.MULTILINE)
    monkeypatch.setattr("sweeps.reports.publish._today", lambda: day.decode())
    for path in written.iterdir():
        path.unlink()
    client, parent = parent_of(demo, "demo")
    count = len(client.search_runs([parent.info.experiment_id]))
    assert main(["report", "demo"]) == 0
    assert len(client.search_runs([parent.info.experiment_id])) == count
    assert {name: (written / name).read_bytes() for name in REPORT} == before
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_renamed_ablation_is_rebuilt_from_its_own_words(demo: Path) -> None:
    arguments = ["ablate", "demo", *DEMO, "seeds=[0]", "ablation.name=other"]
    assert main(arguments) == 0
    assert main(["report", "other"]) == 0
    assert f"convsweep {' '.join(arguments)}" in (demo / "reports" / "other" / "report.md").read_text()
    assert {claim["verdict"] for claim in claims_of(demo, "other").values()} == {INCONCLUSIVE}


@pytest.mark.slow
def test_the_index_is_over_all_ablations(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "demo", *DEMO, "seeds=[0]", "ablation.name=other"]) == 0
    assert main(["report", "--all"]) == 0
    html, markdown = (demo / "reports" / "index.html").read_text(), (demo / "reports" / "results.md").read_text()
    for text in (html, markdown):
        assert "Modified ablations, not counted" in text
        assert "other" in text
        assert "trainer.epochs=1" in text
        assert "64 filters reach a higher test accuracy" not in text
    assert 'href="demo/report.html"' in html
    assert (
        main(
            [
                "ablate",
                "demo",
                "seeds=[0]",
                "trainer.threads=1",
                "workers=1",
                "store.log_model=none",
                "ablation.name=filed",
            ]
        )
        == 0
    )
    (demo / "reports" / "demo" / "claims.json").write_text("{damaged")
    assert main(["report", "filed"]) == 0
    html = (demo / "reports" / "index.html").read_text()
    assert 'href="filed/report.html"' in html
    assert "64 filters reach a higher test accuracy" in html


def test_what_is_not_there_cannot_be_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert main(["report", "demo"]) == 2
    assert "holds no sweep demo. There is none" in capsys.readouterr().err
    assert main(["report", "--all"]) == 2
    assert "make one: convsweep ablate demo" in capsys.readouterr().err


@pytest.mark.slow
def test_what_cannot_be_reported_is_refused(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "dmeo"]) == 2
    assert "did you mean demo" in capsys.readouterr().err
    assert main(["report", "demo", "model.filters=3"]) == 2
    assert "only store.KEY=... can be given" in capsys.readouterr().err
    assert main(["report", "demo", "store.root=nowhere"]) == 2
    assert not Path("nowhere").exists()


@pytest.mark.slow
def test_a_contradicted_claim_fails_a_strict_ablation(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "{it: {says: one epoch is enough, kind: greater, metric: test/accuracy, trial: dense_128, value: 0.99}}"
    arguments = ["ablate", "demo", *DEMO, f"ablation.claims={wrong}", "ablation.name=wrong"]
    assert main(arguments) == 0
    assert claims_of(demo, "wrong")["it"]["verdict"] == CONTRADICTED
    assert main([*arguments, "strict=true"]) == 1
    assert "wrong: strict=true, and CONTRADICTED is it" in capsys.readouterr().out
    right = wrong.replace("greater", "less")
    assert main([*arguments[:-2], f"ablation.claims={right}", "ablation.name=wrong", "strict=true"]) == 0
    assert claims_of(demo, "wrong")["it"]["verdict"] == REPRODUCED


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ablation.claims.more_filters_fit_better.kind=up", "must be one of greater, less"),
        ("ablation.claims.more_filters_fit_better.along=[conv_16,conv_23]", "did you mean conv_32"),
        ("ablation.claims.more_filters_fit_better.metric=train/acuracy", "PART/loss or PART/accuracy"),
        ("ablation.claims.more_filters_fit_better.margin=0.1", "margin has no meaning for the kind rises"),
        ("ablation.claims.more_filters_fit_better.value=nan", "value must be a number"),
        ("ablation.claims.more_filters_fit_better.margin=-1", "margin must be a number from 0"),
        ("statistics.confidence=95", "above 0.5 up to but not including 1"),
        ("statistics.looks=[2,5]", "whole numbers of seeds from 3 to 1,000, each above the one before"),
        ("statistics.looks=[5,3]", "whole numbers of seeds from 3 to 1,000, each above the one before"),
        ("statistics.looks=[]", "whole numbers of seeds from 3 to 1,000, each above the one before"),
        ("seeds=aut", "did you mean auto"),
        ("seeds=0", "auto, a number of seeds from 1 to 1,000, or a list"),
        ("statistics.tolerance={accuracy: -1}", "a number from 0"),
        ("timing.rounds=1", "from 3"),
        ("strict=maybe", "true or false"),
    ],
)
def test_bad_claims_are_refused_before_anything_is_started(
    override: str, message: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", "demo", *DEMO, override]) == 2
    assert message in capsys.readouterr().err
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_speed_is_timed_once_in_turn(demo: Path) -> None:
    claim = "{it: {says: 64 filters are slower, kind: slower, trial: conv_64, than: [dense_128]}}"
    arguments = ["ablate", "demo", *DEMO, f"ablation.claims={claim}", "timing.rounds=3"]
    assert main(arguments) == 0
    _, parent = parent_of(demo, "demo")
    file = demo / "artifacts" / "demo" / parent.info.run_id / "artifacts" / "timings.json"
    timings = json.loads(file.read_text())
    assert {label: len(seconds) for label, seconds in timings["seconds"].items()} == {"conv_64": 3, "dense_128": 3}
    finding = claims_of(demo, "demo")["it"]
    ratios = np.log(np.array(timings["seconds"]["conv_64"]) / np.array(timings["seconds"]["dense_128"]))
    assert finding["estimate"] == pytest.approx(np.exp(ratios.mean()))
    assert finding["n"] == 3
    before = file.stat().st_mtime_ns
    assert main(arguments) == 0
    assert file.stat().st_mtime_ns == before, "what was timed is not timed again"
    assert main([*arguments[:-1], "timing.rounds=4"]) == 0
    assert {len(seconds) for seconds in json.loads(file.read_text())["seconds"].values()} == {4}


@pytest.mark.slow
def test_a_report_leaves_out_runs_of_another_config(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweeps import load
    from sweeps.config.ablation import compose_ablation

    def changed(name: str, overrides: list[str]) -> object:
        return compose_ablation(name, [*overrides, "ablation.trials.conv_64.overrides=['model.filters=8']"])

    monkeypatch.setattr(load, "compose_ablation", changed)
    assert main(["report", "demo"]) == 0
    with (demo / "reports" / "demo" / "results.csv").open() as file:
        assert {run["trial"] for run in csv.DictReader(file)} == {"dense_128", "conv_16", "conv_32"}


@pytest.mark.slow
def test_a_trial_that_cannot_be_timed_stops_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = "wild: {overrides: ['optimizer=sgd', 'optimizer.learning_rate=1e15'], tick: a, published: {}}"
    trials = f"ablation.trials={{{wild}, conv_16: {{overrides: ['model.filters=16'], tick: '[/b]', published: {{}}}}}}"
    claims = "ablation.claims={it: {says: '[/b] is <slower>', kind: slower, trial: conv_16, than: [wild]}}"
    given = [trials, claims, "ablation.axis='rate / batch'", "ablation.description='[/i] | <script>'"]
    assert main(["ablate", "demo", *DEMO, "seeds=[0]", "retries=0", "trainer.precision=float32", *given]) == 1
    assert "timing wild failed: the loss is not finite" in capsys.readouterr().out
    html = (root / "reports" / "demo" / "report.html").read_text()
    assert "&lt;script&gt;" in html
    assert html.count("<script>") == 1, "the page's own"
    assert (root / "reports" / "demo" / "accuracy_by_rate_batch.png").exists()
    assert claims_of(root, "demo")["it"]["verdict"] == INCONCLUSIVE


@pytest.mark.slow
def test_an_interrupted_report_leaves_the_one_before(
    demo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (demo / "reports" / "demo" / "report.html").read_bytes()

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sweeps.reports.publish.write_page", interrupted)
        assert main(["report", "demo"]) == 130
    assert (demo / "reports" / "demo" / "report.html").read_bytes() == before
    assert not list((demo / "reports").glob(".*")), "nothing half written stays"
    (demo / "reports" / ".demo-1").mkdir()  # as a killed process leaves it
    (demo / "reports" / ".demo-1" / "claims.json").write_bytes((demo / "reports" / "demo" / "claims.json").read_bytes())
    assert main(["report", "--all"]) == 0
    assert (demo / "reports" / "results.md").read_text().count("demo (data.limit") == 1


@pytest.mark.slow
def test_reports_of_a_grid_and_of_a_study(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["data=digits", "model.padding=same", *DEMO[:-2]]
    grid = [*base, "hydra.sweeper.name=grid", "hydra.sweeper.seeds=[0,1]", "hydra.sweeper.workers=1"]
    assert main(["train", "-m", "model.filters=2,4", *grid]) == 0
    assert main(["study", "smoke", "study.n_trials=2", "study.confirm_seeds=[9]", *DEMO]) == 0
    for name in ("grid", "smoke"):
        page = root / "reports" / name / "report.html"
        page.unlink()
        assert main(["report", name]) == 0
        assert page.exists()
    assert "2 seeds" not in capsys.readouterr().err
    assert main(["report", "--all"]) == 0
    index = (root / "reports" / "index.html").read_text()
    assert 'href="grid/report.html">Which config has the highest test accuracy?' in index
    assert 'href="smoke/report.html">Which config has the highest validation accuracy?' in index
    assert "The best config on fresh seeds" in (root / "reports" / "smoke" / "report.md").read_text()
    assert "model.filters=4" in (root / "reports" / "grid" / "report.md").read_text().replace(
        "filters=4", "model.filters=4"
    )


@pytest.mark.slow
def test_ctrl_c_during_the_confirmation_keeps_the_page_of_the_study(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweeps.launch._confirm", interrupted)
    assert main(["study", "smoke", "study.n_trials=2", "study.confirm_seeds=[9]", *DEMO]) == 130
    assert "The best trials of" in (root / "reports" / "smoke" / "report.md").read_text()
