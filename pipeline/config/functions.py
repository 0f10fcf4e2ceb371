"""Functions that no other process can import, of a notebook or a script: registered here, and shipped to workers.

Each has a path as if it could be imported, `__main__:build`, and a hash of its own source and of what it uses.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipeline.config.source import find_source, module_sha256


@dataclass(frozen=True)
class Registered:
    """A function and the SHA-256 that stands for its code."""

    function: Callable[..., Any]
    sha256: str


registered: dict[str, Registered] = {}


def register(function: Callable[..., Any]) -> str:
    """Return a path for the function: its own, or one under which it is shipped if others cannot import it."""
    path = f"{function.__module__}:{function.__qualname__}".replace("<", "").replace(">", "")
    if not _is_importable(function):
        registered[path] = Registered(function, _sha256(function))
    return path


def shipped() -> bytes:
    """Return all registered functions as bytes for another process, which trusts them: it is this one's worker."""
    import cloudpickle

    return cloudpickle.dumps(registered) if registered else b""


def receive(functions: bytes) -> None:
    """Register what another process has shipped."""
    import pickle

    if functions:
        registered.update(pickle.loads(functions))


def _is_importable(function: Any) -> bool:
    if function.__module__ in (None, "__main__") or find_source(function.__module__) is None:
        return False
    value: Any = import_module(function.__module__)
    for name in function.__qualname__.split("."):
        value = getattr(value, name, None)
    return value is function


def _sha256(function: Callable[..., Any]) -> str:
    """Return a hash of a function's source, and of the functions, classes and values that it uses."""
    parts: list[str] = []
    seen: dict[int, Any] = {}  # which keeps them alive: ids are used again
    _describe(function, parts, seen)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _describe(value: Any, parts: list[str], seen: dict[int, Any]) -> None:
    if id(value) in seen:
        return
    if isinstance(value, int | float | str | bytes | bool | None):
        parts.append(repr(value))
        return
    seen[id(value)] = value
    if isinstance(value, list | tuple | set | frozenset):
        for item in value if not isinstance(value, set | frozenset) else sorted(value, key=repr):
            _describe(item, parts, seen)
    elif isinstance(value, dict):
        for pair in value.items():
            _describe(list(pair), parts, seen)
    elif isinstance(value, types.ModuleType):
        parts.append(f"{value.__name__} {module_sha256(value.__name__)}")
    elif isinstance(value, types.FunctionType | type):
        _describe_code(value, parts, seen)
    else:
        import cloudpickle

        parts.append(hashlib.sha256(cloudpickle.dumps(value)).hexdigest())


def _describe_code(value: Any, parts: list[str], seen: dict[int, Any]) -> None:
    """Describe a function or class: by its module where others can import it, else by its text and what that uses."""
    if isinstance(value, types.FunctionType | type) and _is_importable(value):
        parts.append(f"{value.__module__}.{value.__qualname__} {module_sha256(value.__module__)}")
        return
    parts.append(_text(value))
    for base in getattr(value, "__bases__", ()):
        _describe(base, parts, seen)
    for function in [value] if isinstance(value, types.FunctionType) else vars(value).values():
        if isinstance(function, types.FunctionType):
            _describe(_used(function), parts, seen)


def _used(function: types.FunctionType) -> dict[str, Any]:
    """Return the global and enclosed names that a function uses, nested functions included, and its defaults."""
    codes, names = [function.__code__], set[str]()
    for code in codes:
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    used = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return (
        used
        | {name: cell.cell_contents for name, cell in cells}
        | {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
    )


def _text(value: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):  # typed into an interpreter without a file
        return dis.Bytecode(value).dis() if isinstance(value, types.FunctionType) else repr(value)
