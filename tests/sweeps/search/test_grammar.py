"""Hydra's sweep grammar: any sweep string maps to a distribution whose points Hydra itself would enumerate."""

from __future__ import annotations

import re

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config.checks import ConfigError
from sweeps.search.grammar import parse_space, parse_sweep, space_of
from sweeps.search.space import as_text

TABLE = [
    ("a=1,2,3", (1, 2, 3), CategoricalDistribution((1, 2, 3))),
    ("a=choice(1,2)", (1, 2), CategoricalDistribution((1, 2))),
    ("a=x,true,null,1.5", ("x", True, None, 1.5), CategoricalDistribution(("x", True, None, 1.5))),
    ("a=[1,2],[3]", ("[1,2]", "[3]"), CategoricalDistribution(("[1,2]", "[3]"))),
    ("a='x y',z", ("'x y'", "z"), CategoricalDistribution(("'x y'", "z"))),
    ("a=str(1,2)", ("'1'", "'2'"), CategoricalDistribution(("'1'", "'2'"))),
    ("a=1,2,1", (1, 2), CategoricalDistribution((1, 2))),
    ("a=sort(3,1,2)", (1, 2, 3), CategoricalDistribution((1, 2, 3))),
    ("a=range(1,10,3)", (1, 4, 7), IntDistribution(1, 7, step=3)),
    ("a=range(10,1,-3)", (10, 7, 4), IntDistribution(4, 10, step=3)),
    ("a=range(5)", (0, 1, 2, 3, 4), IntDistribution(0, 4)),
    ("a=range(7,8)", (7,), CategoricalDistribution((7,))),
    ("a=range(0.1,0.5,0.1)", (0.1, 0.2, 0.3, 0.4), FloatDistribution(0.1, 0.4, step=0.1)),
    ("a=float(range(1,4))", (1.0, 2.0, 3.0), FloatDistribution(1.0, 3.0, step=1.0)),
    ("a=interval(0,1)", None, FloatDistribution(0.0, 1.0)),
    ("a=interval(0.5,3)", None, FloatDistribution(0.5, 3.0)),
    ("a=int(interval(1,8))", None, IntDistribution(1, 8)),
    ("a=tag(log,interval(0.0001,0.1))", None, FloatDistribution(0.0001, 0.1, log=True)),
    ("a=tag(log,int(interval(1,64)))", None, IntDistribution(1, 64, log=True)),
    ("trainer=glob(*)", ("course", "horse", "line"), CategoricalDistribution(("course", "horse", "line"))),
    ("trainer=glob([c*,l*],exclude=line)", ("course",), CategoricalDistribution(("course",))),
]


@pytest.mark.parametrize(("text", "values", "distribution"), TABLE, ids=[row[0] for row in TABLE])
def test_mapping(text: str, values: tuple[object, ...] | None, distribution: object) -> None:
    parameter = parse_sweep(text)
    assert parameter.values == values
    assert parameter.distribution() == distribution


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=5", "sweeps over nothing"),
        ("a=range(3,3)", "has no value"),
        ("a=interval(1,1)", "is empty"),
        ("a=tag(log,interval(0,1))", "must start above 0"),
        ("a=choice(", "not in Hydra's sweep grammar"),
        ("a=range(0,1e9)", "1,000,000,000 values, at most 1,000"),
        ("a=range(.1,.5,1e-13)", "4,000,000,000,000 values"),
        ("a=range(1,5,0)", "its step not 0"),
        ("a=range(0,1,nan)", "finite numbers"),
        ("a=interval(0,inf)", "finite numbers"),
        ("a=1,${seed}", "has no meaning on the command line"),
        ("seed=glob(*)", "among the options of a group"),
        ("model=glob(x*)", "has no value"),
    ],
)
def test_what_is_no_sweep_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse_sweep(text)


@pytest.mark.parametrize(
    "entry",
    [5, None, [1, 2], {}, {"when": "b>0"}, {"sweep": "choice(1,2)", "when": 5}, {"sweep": "choice(1,2)", "then": "x"}],
    ids=str,
)
def test_an_entry_of_a_space_that_is_no_sweep_is_named(entry: object) -> None:
    with pytest.raises(ConfigError, match=r"study.space: model.filters: .* is not allowed"):
        parse_space({"model.filters": entry})


@pytest.mark.parametrize("value", ["{", "[1", "!!python/object:x", "{a:1}", "2024-99-99"])
def test_a_condition_compares_with_a_single_value(value: str) -> None:
    with pytest.raises(ConfigError, match=r"neither a number, a word, true, false nor null"):
        parse_space({"a": {"sweep": "choice(1,2)", "when": f"model.conv_layers>{value}"}})


def test_a_range_across_zero_has_a_zero_and_optunas_rounding_is_undone() -> None:
    parameter = parse_sweep("a=range(-0.3,0.4,0.1)")
    assert parameter.values == (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
    assert [parameter.snapped(-0.3 + number * 0.1) for number in range(7)] == list(parameter.values)
    assert parse_sweep("a=range(1e-13,3.5e-13,1e-13)").values == (1e-13, 2e-13, 3e-13)


def test_a_key_is_varied_once() -> None:
    with pytest.raises(ConfigError, match="a is varied twice"):
        space_of([parse_sweep("a=1,2"), parse_sweep("a=3,4")])


def hydras(text: str) -> list[object]:
    """What Hydra's own sweeper would run, each value parsed again as it would be."""
    parser = OverridesParser.create()
    return [parser.parse_override(f"a={v}").value() for v in parser.parse_override(text).sweep_string_iterator()]


def points(text: str) -> list[object]:
    parser = OverridesParser.create()
    found = parse_space({"a": text.partition("=")[2]}).points(lambda key: None)
    return [parser.parse_override(f"a={as_text(point['a'])}").value() for point in found]


numbers = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4)))
words = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(
    lambda w: w not in ("inf", "nan", "null", "true", "false")
)
scalars = st.one_of(numbers, words, st.booleans(), st.none())
lists = st.lists(st.integers(0, 99), max_size=3)


def written(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(scalars, lists), min_size=2, max_size=5))
def test_choices_are_hydras(values: list[object]) -> None:
    text = f"a={','.join(map(written, values))}"
    expected: list[object] = []
    for value in hydras(text):
        if not any(type(value) is type(other) and value == other for other in expected):
            expected.append(value)
    assert points(text) == expected


@settings(max_examples=150, deadline=None)
@given(st.integers(-50, 50), st.integers(1, 60), st.integers(1, 9))
def test_whole_ranges_are_hydras_and_optunas(start: int, length: int, step: int) -> None:
    text = f"a=range({start},{start + length},{step})"
    assert points(text) == hydras(text)
    distribution = parse_sweep(text).distribution()
    if isinstance(distribution, IntDistribution):
        assert list(range(distribution.low, distribution.high + 1, distribution.step)) == hydras(text)


@settings(max_examples=100, deadline=None)
@given(st.integers(-50, 50), st.integers(1, 40), st.sampled_from([0.1, 0.25, 0.05, 0.5]))
def test_decimal_ranges_are_hydras_but_for_rounding(start: int, length: int, step: float) -> None:
    text = f"a=range({start / 10},{(start + length) / 10},{step})"
    assert points(text) == pytest.approx(hydras(text), abs=1e-9)
    distribution = parse_sweep(text).distribution()
    assert all(distribution._contains(distribution.to_internal_repr(v)) for v in parse_sweep(text).values or ())


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), st.floats(0.001, 1e3).map(lambda x: round(x, 3)))
def test_intervals_stay_inside(low: float, width: float) -> None:
    space = parse_space({"a": f"interval({low},{low + width})"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    value = space.suggest(study.ask(), lambda key: None)["a"]
    assert isinstance(value, float)
    assert low <= value <= low + width


CONDITIONAL = {
    "model.conv_layers": "range(0,3)",
    "model.filters": {"sweep": "choice(8,16)", "when": "model.conv_layers>0"},
    "model.pool": {"sweep": "choice(each,last)", "when": "model.conv_layers>1 and model.filters==16"},
}


def test_conditional_parameters_exist_only_where_their_condition_holds() -> None:
    space = parse_space(CONDITIONAL)
    found = [tuple(point.values()) for point in space.points(lambda key: None)]
    assert found == [(0,), (1, 8), (1, 16), (2, 8), (2, 16, "each"), (2, 16, "last")]
    assert space.size(lambda key: None) == 6
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    proposed = {tuple(space.suggest(study.ask(), lambda key: None).values()) for _ in range(60)}
    assert proposed == set(found)
    assert space.overrides({"model.conv_layers": 1, "model.filters": 8}) == ["model.conv_layers=1", "model.filters=8"]


def test_conditions_may_ask_the_base_config_but_not_a_later_parameter() -> None:
    space = parse_space({"model.dropout": {"sweep": "choice(0.1,0.2)", "when": "data.name==digits"}})
    assert space.size(lambda key: "digits") == 2
    assert list(space.points(lambda key: "mnist")) == [{}]
    with pytest.raises(ConfigError, match="must stand above"):
        parse_space({"a": {"sweep": "choice(1,2)", "when": "b>0"}, "b": "choice(1,2)"})
    with pytest.raises(ConfigError, match="KEY OP VALUE"):
        parse_space({"a": {"sweep": "choice(1,2)", "when": "sometimes"}})
