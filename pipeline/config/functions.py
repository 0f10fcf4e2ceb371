"""Functions that no other process can import, of a notebook or a script: registered here, and shipped to workers.

Each has a path as if it could be imported, `__main__:build`, and a hash of its own source and of what it uses.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipeline.config.checks import ConfigError, shown
from pipeline.config.source import OURS, find_source, is_of_project, module_sha256
from pipeline.system.messages import one_line

PLAIN = (int, float, str, bytes, bool, type(None))


@dataclass(frozen=True)
class Registered:
    """A function and the SHA-256 that stands for its code."""

    function: Callable[..., Any]
    sha256: str


registered: dict[str, Registered] = {}


def register(function: Callable[..., Any]) -> str:
    """Return a path for the function: its own, or one under which it is shipped if others cannot import it.

    Raises:
        ConfigError: if it is no function, or uses what cannot be sent to another process.
    """
    if not hasattr(function, "__qualname__") or not hasattr(function, "__module__"):
        hint = "define one with def; arguments that are fixed are given beside those that are swept"
        raise ConfigError(f"{shown(str(function))} is a {type(function).__name__}, and a function is needed: {hint}")
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
    if isinstance(value, PLAIN):
        parts.append(repr(value))
    elif id(value) in seen:
        parts.append(f"again: {getattr(value, '__qualname__', type(value).__name__)}")
    elif isinstance(value, types.ModuleType):
        parts.append(f"{value.__name__} {module_sha256(value.__name__)}")
    elif isinstance(value, types.FunctionType | type):
        seen[id(value)] = value
        _describe_code(value, parts, seen)
    else:
        seen[id(value)] = value
        _describe_parts(value, parts, seen)
        del seen[id(value)]  # equal values are described alike, whether or not they are the same


def _describe_parts(value: Any, parts: list[str], seen: dict[int, Any]) -> None:
    """Describe a value by what it holds, each kind with its length: [[1], [2]] is not [[1, 2]]."""
    held: Iterable[Any]
    if isinstance(value, list | tuple):
        held = value
    elif isinstance(value, set | frozenset):
        held = sorted(value, key=repr)
    elif isinstance(value, dict):
        held = [part for pair in value.items() for part in pair]
    elif isinstance(value, types.MethodType):
        held = value.__func__, value.__self__
    elif hasattr(value, "__dict__") and _is_local(type(value)):
        held = type(value), vars(value)  # pickled, its class would have another name in each process
    else:
        parts.append(hashlib.sha256(_pickled(value)).hexdigest())
        return
    held = list(held)
    parts.append(f"{type(value).__name__} of {len(held)}")
    for item in held:
        _describe(item, parts, seen)


def _is_local(kind: type) -> bool:
    return kind.__module__ == "__main__" or "<locals>" in kind.__qualname__


def _pickled(value: Any) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:  # every type refuses in its own way
        words = f"the function uses a {type(value).__name__}, which cannot be sent to another process"
        raise ConfigError(f"{words}: {one_line(error)}. Make it inside the function") from error


def _describe_code(value: Any, parts: list[str], seen: dict[int, Any]) -> None:
    """Describe a function or class: by its module where others can import it, else by its text and what that uses."""
    if _is_importable(value):
        parts.append(f"{value.__module__}.{value.__qualname__} {module_sha256(value.__module__)}")
        return
    parts += [value.__qualname__, _text(value)]
    if isinstance(value, types.FunctionType):
        _describe(_used(value), parts, seen)
        return
    for base in value.__bases__:
        _describe(base, parts, seen)
    for name, member in vars(value).items():
        for each in _behind(name, member):
            parts.append(name)
            _describe(each, parts, seen)


def _behind(name: str, member: Any) -> list[Any]:
    """Return the functions behind a member of a class, or its plain value."""
    if isinstance(member, (*PLAIN, list, tuple, dict)) and not name.startswith("__"):
        return [member]
    behind = [getattr(member, name, None) for name in ("__func__", "fget", "fset", "fdel", "func")]
    return [each for each in (member, *behind) if isinstance(each, types.FunctionType)]


def _used(function: types.FunctionType) -> dict[str, Any]:
    """Return the names that a function uses, nested functions included: global, enclosed, imported; and defaults."""
    codes, names = [function.__code__], set[str]()
    for code in codes:
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    used = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    package = function.__globals__.get("__package__") or ""
    return (
        used
        | {name: cell.cell_contents for name, cell in cells}
        | {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
        | {"imports": [module_sha256(name) for name in sorted(set(_imported(codes, package)))]}
    )


def _imported(codes: Iterable[types.CodeType], package: str) -> Iterator[str]:
    """Yield the project's modules that a function's own body imports, with those of relative imports."""
    for code in codes:
        base = ""
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                base = name = instruction.argval
            elif instruction.opname == "IMPORT_FROM":
                name = f"{base}.{instruction.argval}".lstrip(".")
            else:
                continue
            parts = name.split(".")
            absolute = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            for module in [*absolute, *(f"{package}.{each}" for each in absolute if package)]:
                source = find_source(module) if module else None
                if source and is_of_project(source) and parts[0] not in OURS:
                    yield module


def _text(value: Any) -> str:
    """Return the source of a function or class, of a function that wraps another its own."""
    code = getattr(value, "__code__", value)
    try:
        text = textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError):  # typed into an interpreter without a file; of a class, in a notebook
        text = ""
    has_name_alone = not text or value.__name__ == "<lambda>"  # two may stand in one line
    return text + _bytecode(code) if has_name_alone and isinstance(code, types.CodeType) else text


def _bytecode(code: types.CodeType) -> str:
    """Return what a function's code does, without its place and without addresses."""
    constants = [_bytecode(each) if isinstance(each, types.CodeType) else each for each in code.co_consts]
    known = [sorted(each, key=repr) if isinstance(each, frozenset) else each for each in constants]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, known))
