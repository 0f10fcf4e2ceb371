import functools
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import functions
from pipeline.config.checks import ConfigError
from pipeline.config.code import code_sha256, import_function

# A function of a script uses another one, a class, a constant and an enclosed value; each decides what it does.
SCRIPT = """
from pipeline.config.functions import register
from pipeline.config.code import code_sha256
WIDTH = {width}
class Block:
    size = {size}
    def call(self):
        return WIDTH
def helper():
    return {helper}
def make(depth):
    def build(input_shape, outputs, rate={rate}):
        return [helper() for _ in range(depth)] + [Block()]
    return build
path = register(make({depth}))
print(path, code_sha256("model.builder", path))
"""
VALUES = {"width": 1, "size": 2, "helper": 3, "rate": 0.5, "depth": 4}


def hash_of(folder: Path, **changed: float) -> str:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(**(VALUES | changed)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    path, sha256 = done.stdout.split()
    assert path == "__main__:make.locals.build"
    return sha256


def test_hash_of_a_scripts_function_is_of_all_that_it_uses(tmp_path: Path) -> None:
    hashes = [hash_of(tmp_path), *(hash_of(tmp_path, **{name: 9}) for name in VALUES)]
    assert len(set(hashes)) == 1 + len(VALUES)
    assert hash_of(tmp_path) == hashes[0]


def test_an_importable_function_keeps_its_own_path() -> None:
    assert functions.register(hash_of) == f"{__name__}:hash_of"
    assert f"{__name__}:hash_of" not in functions.registered


def test_a_registered_function_is_found_by_its_path_after_shipping() -> None:
    factor = 3
    path = functions.register(lambda x: factor * x)
    sha256, sent = code_sha256("model.builder", path), functions.shipped()
    functions.registered.clear()
    functions.receive(sent)
    assert import_function("model.builder", path)(2) == 6
    assert code_sha256("model.builder", path) == sha256
    functions.registered.clear()


def enclosing(value: Any) -> Callable[..., Any]:
    return lambda: value


def wrapped(factor: int) -> Callable[..., Any]:
    def build() -> int:
        return 1

    @functools.wraps(build)
    def once() -> int:
        return build()

    @functools.wraps(build)
    def twice() -> int:
        return build() * 2

    return once if factor == 1 else twice


def in_one_line() -> tuple[Callable[..., Any], ...]:
    return (lambda: 8), (lambda: 16)


def sha256_of(function: Callable[..., Any]) -> str:
    path = functions.register(function)
    return functions.registered.pop(path).sha256


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (enclosing([[8], [16, 4]]), enclosing([[8, 16], [4]])),
        (enclosing({"a": [1], "b": [2]}), enclosing({"a": [1, "b", 2]})),
        (enclosing([8, []]), enclosing([8])),
        (wrapped(1), wrapped(2)),
        in_one_line(),
    ],
)
def test_functions_that_do_otherwise_have_other_hashes(one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert sha256_of(one) != sha256_of(other)


def test_hash_of_equal_values_is_the_same() -> None:
    same = [8]
    assert sha256_of(enclosing([same, same])) == sha256_of(enclosing([[8], [8]]))


def test_hash_is_of_what_a_function_imports_in_its_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Any:
        from own_blocks.dense import width  # type: ignore[import-not-found, unused-ignore]

        return width

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_blocks").mkdir()
    hashes = set()
    for text in ("width = 8", "width = 16"):
        (tmp_path / "own_blocks/dense.py").write_text(text)
        (tmp_path / "own_blocks/__init__.py").touch()
        hashes.add(sha256_of(build))
    assert len(hashes) == 2


# A class without a source, as in a notebook, and an instance of it: the same in each process, another for other code.
TYPED = """
from pipeline.config.functions import register, registered
exec('''
class Block:
    size = {size}
    def __init__(self, width): self.width = width
    @property
    def area(self): return self.width * {factor}
block = Block({width})
def build(): return block.area, {{"a", "b"}} & {{"b"}}, "c" in {{"c", "d"}}, lambda: {inner}
''')
print(registered[register(build)].sha256)
"""


def test_hash_of_code_without_a_source_is_of_what_it_does(tmp_path: Path) -> None:
    values = {"size": 1, "factor": 2, "width": 3, "inner": 4}

    def hash_with(**changed: int) -> str:
        (tmp_path / "script.py").write_text(TYPED.format(**(values | changed)))
        return subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True).stdout

    hashes = [hash_with(), *(hash_with(**{name: 9}) for name in values)]
    assert len(set(hashes)) == 5
    assert hash_with() == hashes[0] != ""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (functools.partial(enclosing, value=1), "is a partial, and a function is needed"),
        (3, "is a int, and a function is needed"),
        (enclosing(threading.Lock()), "the function uses a lock, which cannot be sent to another process"),
    ],
)
def test_what_cannot_be_sent_to_another_process_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        functions.register(function)
