"""Config files composed by Hydra, the user's before ours, and errors that name the user's file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.config.checks import ConfigError, did_you_mean, require
from pipeline.config.groups import CONF, ConfigFiles, config_files
from pipeline.config.overrides import hydra_as_1_3
from pipeline.config.types import first_line
from pipeline.system.messages import reason

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

VARIABLES = ("CONVSWEEP_", "MLFLOW_TRACKING_URI")  # how the names begin of those that our files name


@dataclass(frozen=True)
class Composed:
    """A composed config.

    Attributes:
        tree: Its values by section; shared, not to be changed.
        own: The user's files that it is made of, in the order in which they were read.
    """

    tree: dict[str, Any]
    own: tuple[Path, ...]


def compose_files(primary: str, choices: tuple[str, ...] = ()) -> Composed:
    """Compose `primary`.yaml with options of its groups, as in model=conv; once, until a file changes.

    Raises:
        ConfigError: naming the user's file where one is at fault.
    """
    environment = frozenset(item for item in os.environ.items() if item[0].startswith(VARIABLES))
    return _composed(primary, choices, config_files(), environment)


@lru_cache(maxsize=256)
def _composed(
    primary: str, choices: tuple[str, ...], files: ConfigFiles, environment: frozenset[tuple[str, str]]
) -> Composed:
    """Compose; the files may name variables of the `environment`."""
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    read: list[str] = []
    try:
        with hydra_as_1_3():
            config = _loader(files, read).load_configuration(primary, list(choices), RunMode.RUN, from_shell=False)
        with open_dict(config):
            del config["hydra"]
        for key, value in leaves(cast(Any, OmegaConf.to_container(config))):
            only = "a value, or an environment variable's as in ${oc.env:NAME,null}: no other interpolation is allowed"
            require("${" not in str(value) or str(value).startswith("${oc.env:"), key, value, only)
        tree = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except ConfigError as error:
        raise located(error, _own(read, files)) from None
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError) as error:
        raise ConfigError(_why(error, primary, read, files)) from error
    return Composed(tree, _own(read, files))


def _loader(files: ConfigFiles, read: list[str]) -> ConfigLoaderImpl:
    """Return Hydra's loader of configs, which appends the name of every file that it reads to `read`.

    Hydra's public functions know one folder, and leave a global state behind.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_repository import ConfigRepository
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.plugins.config_source import ConfigResult

    class Repository(ConfigRepository):
        def load_config(self, config_path: str) -> ConfigResult | None:
            read.append(config_path)
            return super().load_config(config_path)

    first, *others = (str(folder) for folder in files.folders)
    search_path = create_config_search_path(first)
    for folder in others:
        search_path.prepend("main", folder, SearchPathQuery("schema"))
    loader = ConfigLoaderImpl(search_path)
    loader.repository = Repository(search_path)
    return loader


def _own(read: list[str], files: ConfigFiles) -> tuple[Path, ...]:
    """Return those of the files read that are the user's."""
    paths = (files.own / f"{name}.yaml" for name in dict.fromkeys(read) if files.own)
    return tuple(path for path in paths if path.is_file())


def _why(error: Exception, primary: str, read: list[str], files: ConfigFiles) -> str:
    """Return why a config cannot be composed, naming the user's file if one is involved."""
    from hydra.errors import MissingConfigException
    from yaml import MarkedYAMLError

    own = _own(read, files)
    if not own:
        return f"{primary}.yaml cannot be composed: {first_line(error)}"
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = files.names.get(group, [])
        there = f"{did_you_mean(name, options)}. There are: {', '.join(options)}" if options else ""
        return f"{own[-1]}: its defaults name {error.missing_cfg_file}, which is not there{there}"
    if isinstance(error, RecursionError):
        hides = (CONF / own[-1].relative_to(files.folders[0])).exists()
        hint = "a file with the name of one of ours hides ours and cannot start from it; give yours another name"
        return f"{own[-1]}: its defaults lead back to it" + (f": {hint}" if hides else "")
    if isinstance(error, OSError | UnicodeDecodeError):
        return f"{own[-1]} cannot be read: {reason(error)}"
    return f"{' or '.join(map(str, own))}: {first_line(error.__cause__ or error)}{_lacks_package(own)}"


def _lacks_package(own: Sequence[Path]) -> str:
    """Return a hint where an ablation or a study does not say that its keys are the whole config's; else nothing."""
    sweeps = (file for file in own if file.parent.name in ("ablation", "study"))
    lacks = any("@package" not in file.read_text(errors="replace") for file in sweeps)
    return "; the first line of the file must be: # @package _global_" if lacks else ""


def located(error: ConfigError, own: Sequence[Path], overridden: Sequence[str] = ()) -> ConfigError:
    """Return an error whose message begins with a key, with the user's file, and line, that sets it or its section.

    Args:
        error: As a schema raises it.
        own: The user's files.
        overridden: Keys that are set by no file.
    """
    key = re.match(r"[\w.]+", str(error))
    if key is None or any(f"{key.group()}.".startswith(f"{each}.") for each in overridden):
        return error
    sets = re.compile(rf"""([^#]*[\s{{,])?["']?{key.group().rpartition(".")[2]}["']?\s*:""")
    for file in reversed(own):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if sets.match(line):
                return ConfigError(f"{file}, line {number}: {error}{_lacks_package([file])}")
    files = [file for file in own if file.parent.name == key.group().partition(".")[0]]
    return ConfigError(f"{files[-1]}: {error}{_lacks_package(files[-1:])}") if files else error


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of everything in nested dictionaries; lists are values."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
