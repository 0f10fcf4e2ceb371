"""Python values written as overrides are parsed to the same values."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.overrides import as_override, as_shell_word, as_sweep, in_store, parse_override
from pipeline.config.schema import RunConfig

TEXT = st.text(st.characters(codec="utf-8"), max_size=12).filter(str.isprintable)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | TEXT
NAMES = st.from_regex(r"x_[a-z]{0,4}", fullmatch=True)
ONES = st.lists(SCALARS, max_size=3) | st.dictionaries(NAMES, SCALARS, max_size=3)
VALUES = SCALARS | ONES | st.lists(ONES, max_size=3) | st.dictionaries(NAMES, ONES, max_size=2)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_a_value_is_parsed_as_it_was(value: object) -> None:
    if "${" in str(value):
        return
    assert parse_override(as_override("model.args.it", value)).value() == value


@pytest.mark.parametrize("text", ["/tmp/mlruns", "/tmp/my runs", "/tmp/실행", "it's", 'a"b', "a\\"])
def test_a_shell_word_is_parsed_as_the_text(text: str) -> None:
    (word,) = shlex.split(as_shell_word("store.root", text))
    assert parse_override(word).value() == text


def test_a_command_names_a_store_that_is_not_the_usual_one() -> None:
    usual = compose(RunConfig, "train", []).store.root
    assert in_store("convsweep ui demo", usual) == "convsweep ui demo"
    assert in_store("convsweep ui demo", "../mlruns") == "convsweep ui demo store.root=../mlruns"


def test_other_letters_are_said_to_need_quotes() -> None:
    with pytest.raises(ConfigError, match=r"need quotes: 'store\.root=\"/tmp/실행\"'$"):
        parse_override("store.root=/tmp/실행")


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([16, 32], "16,32"),
        (range(2), "0,1"),
        ([0.5], "choice(0.5)"),
        ((None, True), "null,true"),
        ([[128], [64, 32]], "[128],[64,32]"),
        (["same", "a b", "it's"], r"same,'a b','it\'s'"),
        (np.array([8, 16]), "8,16"),
        ([np.float64(0.1), np.int32(2)], "0.1,2"),
    ],
)
def test_values_to_sweep(values: object, written: str) -> None:
    swept = as_sweep("model.filters", values)  # type: ignore[arg-type]
    assert swept == f"model.filters={written}"
    assert parse_override(swept).is_sweep_override()


@pytest.mark.parametrize("values", ["16,32", 16, None, []])
def test_what_is_no_list_of_values_is_refused(values: object) -> None:
    with pytest.raises(ConfigError, match=r"model\.filters"):
        as_sweep("model.filters", values)  # type: ignore[arg-type]
