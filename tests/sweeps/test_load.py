"""What is tracked of a sweep, loaded without training, printing or writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.load import load_results
from sweeps.sweep_result import AblationResult


@pytest.mark.slow
def test_an_ablation_is_loaded_by_trial_and_seed(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted((demo / "reports" / "demo").iterdir())
    loaded = load_results("demo")
    assert isinstance(loaded, AblationResult)
    assert [result.label for result in loaded.results] == ["dense_128", "conv_16", "conv_32", "conv_64"]
    assert {tuple(result.by_seed("test/accuracy")) for result in loaded.results} == {(0, 1, 2)}
    assert (loaded.left_out, loaded.timings) == (0, {})
    assert capsys.readouterr().out == ""
    assert sorted((demo / "reports" / "demo").iterdir()) == before
