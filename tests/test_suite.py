"""What the tests promise of themselves."""

from __future__ import annotations

import pytest

from tests.conftest import fail_what_is_skipped, need


def report_of(outcome: str) -> pytest.TestReport:
    return pytest.TestReport("test_it", ("", 0, ""), {}, outcome, "no browser", "call")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ci", "outcome", "wanted"),
    [("true", "skipped", "failed"), (None, "skipped", "skipped"), ("true", "passed", "passed")],
)
def test_in_ci_what_is_skipped_fails(
    ci: str | None, outcome: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    report = fail_what_is_skipped(report_of(outcome))
    assert report.outcome == wanted
    assert "no browser" in str(report.longrepr)


def test_what_is_needed_and_missing_is_skipped_with_its_reason() -> None:
    need(True, "nothing is missing")
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        need(False, "no browser")
