from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

import pipeline.signature
from pipeline.config import RunConfig
from pipeline.signature import TRAINING_MODULES, _bare, signature

Compose = Callable[..., RunConfig]


@pytest.mark.parametrize(
    "other",
    [
        "model.filters=5",
        "model.l2=0.1",
        "model.activation=elu",
        "model.dropout=0.1",
        "seed=1",
        "data.limit=100",
        "trainer.epochs=3",
        "trainer.batch_size=16",
        "trainer.shuffle=once",
        "trainer.precision=float32",
        "optimizer.learning_rate=0.01",
    ],
)
def test_what_decides_numbers_changes_it(config: Compose, other: str) -> None:
    assert signature(config("trainer.precision=mixed_bfloat16"), "d") != signature(
        config("trainer.precision=mixed_bfloat16", other), "d"
    )
    assert signature(config(), "d") != signature(config(), "e")


@pytest.mark.parametrize(
    "other",
    ["store.root=elsewhere", "trainer.threads=2", "model.name=other", "data.cache=elsewhere", "model.pool_size=2"],
)
def test_what_decides_nothing_does_not(config: Compose, other: str) -> None:
    assert signature(config(), "d") == signature(config(other), "d")


def test_keys_without_a_layer_do_not(config: Compose) -> None:
    dense = ["model=dense", "data=digits"]
    assert signature(config(base=dense), "d") == signature(config("model.kernel_size=5", base=dense), "d")


def test_whatever_training_imports_is_part_of_it_or_decides_nothing() -> None:
    folder = Path(pipeline.signature.__file__).parent
    used = set()
    for module in TRAINING_MODULES:
        for node in ast.walk(ast.parse((folder / module).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
                within = [alias.name for alias in node.names] if node.module == "pipeline" else [str(node.module)]
                used |= {name.rpartition(".")[2] for name in within}
    # Values, files and arrays whose content is hashed, how many threads, what to say: none of it decides a number.
    harmless = {"config", "sources", "pictures", "checkpoints", "estimate", "hardware", "runtime"}
    assert used - {Path(module).stem for module in TRAINING_MODULES} == harmless


def test_comments_and_docstrings_of_the_code_do_not() -> None:
    one = 'def f(x):\n    """Told."""\n    return x  # why\n'
    assert _bare(one) == _bare('def f(x):\n    """Told otherwise."""\n\n    return x\n')
    assert _bare(one) != _bare('def f(x):\n    """Told."""\n    return -x\n')


def test_a_limit_and_a_fraction_of_the_same_size_are_different_runs(config: Compose) -> None:
    assert signature(config("data.limit=718"), "d") != signature(config("data.train_fraction=0.5"), "d")
    assert signature(config("data.limit=99999"), "d") == signature(config(), "d"), "without effect"
