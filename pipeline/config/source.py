"""Hash of a user's own code: a function's module and the modules of the same project that it imports.

Nothing is imported for it: modules are found on sys.path and their imports are read from their text.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

OURS = ("pipeline", "sweeps", "convsweep")  # TRAINING_VERSION stands for these ...
CASE_STUDIES = "pipeline.models.case_studies."  # ... but for these, which are networks as a user's own are
ROOT = Path(__file__).resolve().parents[2]  # the folder that holds ours


def module_sha256(module: str) -> str | None:
    """Return the SHA-256 of a module's source and of the project's modules that it imports; None if it has none.

    Of a library's module only its own source counts; MLflow's tags name the versions of Keras and TensorFlow.

    Args:
        module: As it is imported, `nets` or `nets.mixers`.
    """
    sources: dict[str, bytes] = {}
    open_modules = [module]
    while open_modules:
        name = open_modules.pop()
        path = find_source(name) if name not in sources and not _is_versioned(name) else None
        if path is None or (name != module and not is_of_project(path)):
            continue
        sources[name] = path.read_bytes()
        if is_of_project(path):
            open_modules += _imported(sources[name], name, is_package=path.name == "__init__.py")
    if module not in sources:
        return None
    digest = hashlib.sha256()
    for name, source in sorted(sources.items()):
        digest.update(f"{name}\n{len(source)}\n".encode() + source)
    return digest.hexdigest()


def find_source(module: str) -> Path | None:
    """Return the file of a module's source on sys.path, found without importing anything; None if there is none."""
    # Ours are loaded already, wherever sys.path may lead: an editable install is not on it.
    path, spec, name = [str(ROOT)] if _is_ours(module) else list(sys.path), None, ""
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    file = Path(spec.origin) if spec and spec.origin else None
    return file if file and file.suffix == ".py" and file.is_file() else None


def is_of_project(path: Path) -> bool:
    """Return whether a file is a user's own: in no installed library, not in Python's, and not ours."""
    others = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    others += [ROOT / name for name in OURS]
    resolved = path.resolve()
    installed = {"site-packages", "dist-packages"}.intersection(resolved.parts)
    return not installed and not any(resolved.is_relative_to(folder) for folder in others)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def _is_versioned(module: str) -> bool:
    """Return whether TRAINING_VERSION stands for a module."""
    return _is_ours(module) and not module.startswith(CASE_STUDIES)


def _imported(source: bytes, module: str, is_package: bool) -> Iterator[str]:
    """Yield the modules that a source may import: for `from a import b` both a and a.b, and the packages of each."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # importing it will say so
        return
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            names = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
