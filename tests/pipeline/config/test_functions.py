import subprocess
import sys
from pathlib import Path

from pipeline.config import functions
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
