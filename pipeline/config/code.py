"""Functions of a user's own, named by a dotted path as in `nets:mixer`: checked, hashed, imported, called.

A path is imported only where the user's own config or command line names it.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipeline.config.checks import ConfigError, did_you_mean, require, shown
from pipeline.config.functions import registered
from pipeline.config.source import is_of_project, module_sha256
from pipeline.config.types import WORDS, parts_of

_added: list[str] = []  # to the import path


def use_project(folder: Path | None) -> None:
    """Put a project's folder first on the import path, instead of the one before; None puts none there."""
    sys.path[:] = [entry for entry in sys.path if entry not in _added]
    _added.clear()
    if folder is not None:
        path = str(folder.resolve())
        if path not in sys.path:
            _added.append(path)
        sys.path[:] = [path, *(entry for entry in sys.path if entry != path)]


def code_sha256(key: str, path: str) -> str:
    """Return the SHA-256 of the code behind `path`, which is not imported: see `module_sha256`.

    Args:
        key: The config key that names it, for messages.
        path: MODULE:FUNCTION.

    Raises:
        ConfigError: if there is no such module, or it has no source.
    """
    if path in registered:
        return registered[path].sha256
    module = path.partition(":")[0]
    sha256 = module_sha256(module)
    if sha256 is None:
        folders = ", ".join(entry or "." for entry in sys.path[:2])
        raise ConfigError(
            f"{key}={path}: there is no module {module} with a source; looked for it in {folders} and the installed "
            "libraries. Put it beside conf/, or name MODULE:FUNCTION otherwise"
        )
    return sha256


def import_function(key: str, path: str) -> Callable[..., Any]:
    """Import the function that a config names.

    Args:
        key: The config key that names it, for messages.
        path: MODULE:FUNCTION.

    Raises:
        ConfigError: if the module or the function cannot be had, with the user's own lines of the traceback.
    """
    if path in registered:
        return registered[path].function
    module, _, names = path.partition(":")
    code_sha256(key, path)
    member: Any = call(f"{key}={path}: importing {module}", importlib.import_module, module)
    for name in names.split("."):
        if not hasattr(member, name):
            there = [each for each, value in vars(member).items() if callable(value) and not each.startswith("_")]
            words = f"{key}={path}: {module} has no function {name}{did_you_mean(name, there)}"
            raise ConfigError(f"{words}. It has: {', '.join(there) or 'none'}")
        member = getattr(member, name)
    require(callable(member), key, path, f"a function; {path} is a {type(member).__name__}")
    return member  # type: ignore[no-any-return]


def check_arguments(key: str, function: Callable[..., Any], given: Iterable[str], args: Mapping[str, Any]) -> None:
    """Check that a function can be called with these arguments, and their types where it annotates them.

    Args:
        key: The config key that holds `args`, as in `model.args`.
        function: The user's.
        given: Names of what it is given beside `args`, by position.
        args: What it is given by name.

    Raises:
        ConfigError: naming the argument, with the function's signature.
    """
    signature = inspect.signature(function)
    written = f"The function is {getattr(function, '__name__', function)}{signature}"
    try:
        signature.bind(*given, **args)
    except TypeError as error:
        unknown = (name for name in args if name not in signature.parameters)
        hint = next(filter(None, (did_you_mean(name, signature.parameters) for name in unknown)), "")
        raise ConfigError(f"{key}={shown(dict(args))} is not allowed: {error}{hint}. {written}") from None
    try:
        hints = get_type_hints(function)
    except Exception:  # annotations can be anything
        return
    for name, value in args.items():
        allowed = _allowed(hints.get(name, Any), value)
        require(not allowed, f"{key}.{name}", value, f"{allowed}. {written}")


def _allowed(hint: Any, value: Any) -> str:
    """Return what an annotation allows, if it does not allow `value`; annotations of other kinds allow everything."""
    kind, _, may_be_null = parts_of(hint)
    if value is None and may_be_null:
        return ""
    or_null = ", or null" if may_be_null else ""
    if get_origin(kind) is Literal:
        options = get_args(kind)
        return "" if value in options else f"one of {', '.join(map(str, options))}{or_null}"
    if get_origin(kind) is list and get_args(kind)[0] in WORDS:
        (of,) = get_args(kind)
        fits = isinstance(value, list) and all(_fits(of, item) for item in value)
        return "" if fits else f"a list, of which each item is {WORDS[of]}{or_null}"
    return "" if kind not in WORDS or _fits(kind, value) else WORDS[kind] + or_null


def _fits(kind: type, value: object) -> bool:
    return type(value) in ((int, float) if kind is float else (kind,))


def call(what: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call a user's function; what it prints is shown only if it fails, and what it warns of not at all.

    Raises:
        ConfigError: for any exception, with the user's own lines of the traceback.
    """
    printed = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            warnings.catch_warnings(action="ignore"),
        ):
            return function(*args, **named)
    except (Exception, SystemExit) as error:
        lines = [f"{what} fails: {type(error).__name__}: {error}", *user_lines(error)]
        if text := printed.getvalue().strip():
            lines += ["it printed:", *text.splitlines()[-10:]]
        raise ConfigError("\n  ".join(lines)) from error


def user_lines(error: BaseException) -> list[str]:
    """Return the lines of an error's traceback that are in the user's code: from its first frame to its last."""
    if isinstance(error, SyntaxError):
        return [f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_user(frame.filename)]
    return [f"{frame.filename}, line {frame.lineno}, in {frame.name}: {frame.line}" for frame in frames]


def _is_of_user(file: str) -> bool:
    if file.startswith("<"):  # of Python itself, or typed in
        return not file.startswith("<frozen")
    return is_of_project(Path(file))
