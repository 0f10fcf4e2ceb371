from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.rules import number, one_of, whole
from pipeline.config.types import dotted_keys, parts_of, typed


@dataclass
class Inner:
    share: Annotated[float, number(at_least=0, below=1)]
    word: Annotated[str | None, one_of("left", "right")] = None


@dataclass
class Outer:
    count: Annotated[int | None, whole(1, 5)]
    inner: Inner
    ways: dict[str, Annotated[str, one_of("up", "down")]]
    anything: Any = None


def outer(**values: Any) -> Any:
    return typed(Outer, {"count": 1, "inner": {"share": 0}, "ways": {}} | values)


def test_plain_values_become_dataclasses_of_their_types() -> None:
    assert outer(count="3", inner={"share": 0}, ways={"a": "up"}) == Outer(3, Inner(0.0), {"a": "up"})
    assert outer(count=None).count is None
    assert isinstance(outer().inner.share, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 6}, "count=6 is not allowed: count must be a whole number from 1 to 5, or null"),
        ({"count": 1.5}, "count=1.5 is not allowed: count must be a whole number of at most 1e15, or null"),
        ({"inner": {"share": 1}}, "inner.share must be a number from 0 up to but not including 1"),
        ({"inner": {"share": "nan"}}, "inner.share must be a number of at most 1e30"),
        (
            {"inner": {"share": 0, "word": "lift"}},
            r"inner.word must be one of left, right, or null \(did you mean left\?\)",
        ),
        ({"inner": {}}, "inner.share is missing"),
        ({"inner": {"shar": 0}}, r"inner.shar is not a config key \(did you mean inner.share\?\)"),
        ({"ways": {"a": "upp"}}, r"ways.a=upp is not allowed: ways.a must be one of up, down \(did you mean up\?\)"),
        ({"ways": None}, "ways=null is not allowed: ways must have a value"),
        ({"anything": "???"}, "anything has no value: it must be given"),
    ],
)
def test_a_message_names_key_value_and_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        outer(**values)


def test_keys_and_rules_can_be_read_from_a_schema() -> None:
    assert dotted_keys(Outer) == ["count", "inner", "inner.share", "inner.word", "ways", "anything"]
    kind, rule, may_be_null = parts_of(Annotated[int | None, whole(1, 5)])
    assert (kind, rule and rule.words, may_be_null) == (int, "a whole number from 1 to 5", True)
