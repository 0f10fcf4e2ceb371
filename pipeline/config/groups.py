"""Config folders, the user's before the built-in one: their groups, and the YAML files in them to choose from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.config.checks import ConfigError
from pipeline.config.code import use_project
from pipeline.system.messages import reason

_INSTALLED, _IN_CHECKOUT = (Path(__file__).resolve().parents[up] / "conf" for up in (1, 2))
CONF = _INSTALLED if _INSTALLED.is_dir() else _IN_CHECKOUT
GROUPS = tuple(sorted(folder.name for folder in CONF.iterdir() if folder.is_dir()))
FOLDER = "conf"  # what a config folder is called where it is found without being named


@dataclass(frozen=True)
class ConfigFiles:
    """The config files there were when they were listed last.

    Attributes:
        folders: Where they were, the user's folder first; the built-in one is the last.
        stamps: Path, size and time of the last change, in nanoseconds, of each of the user's.
    """

    folders: tuple[Path, ...]
    stamps: tuple[tuple[str, int, int], ...]
    options: dict[str, dict[str, Path]] = field(compare=False)  # by group and name; the user's file, if there are two

    @property
    def own(self) -> Path | None:
        """The user's folder."""
        return self.folders[0] if len(self.folders) > 1 else None

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Names of the options of each group."""
        return {group: sorted(files) for group, files in self.options.items()}

    def is_own(self, file: Path) -> bool:
        """Whether a file is the user's."""
        return self.own is not None and file.is_relative_to(self.own)


class _Search:
    """Which folder was asked for, and what was found; as the whole process has it."""

    asked: Path | None = None
    found: ConfigFiles | None = None


def use_config_folder(folder: str | Path | None) -> None:
    """Search this folder before the built-in one, and let its parent be the first to import from.

    Args:
        folder: None stands for `conf` in the current folder, if that is a config folder.

    Raises:
        ConfigError: if there is no such folder, or it has none of the groups' folders.
    """
    asked = None if folder is None else Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 follow no link
    if asked is not None:
        _require_config_folder(asked)
    _Search.asked = asked
    config_files(afresh=True)


def config_files(afresh: bool = False) -> ConfigFiles:
    """Return the config files: as listed last, so that all trials of a sweep see the same, or `afresh`.

    Raises:
        ConfigError: if a folder of the user's cannot be read.
    """
    if afresh or _Search.found is None:
        own = _Search.asked or _standing_in()
        own = None if own is None or own.samefile(CONF) else own
        use_project(own.parent if own else None)
        _Search.found = _listed(own)
    return _Search.found


def config_folders() -> tuple[Path, ...]:
    """Return the folders that are searched, the user's first."""
    return config_files().folders


def project_folder() -> Path:
    """Return the folder in which a config's relative paths begin: the one that holds conf/, else the current one."""
    own = config_files().own
    return own.parent if own else Path.cwd()


def config_groups() -> dict[str, list[str]]:
    """Return the options of every config group, by group."""
    return config_files().names


def describe(group: str) -> dict[str, str]:
    """Return what every option of a config group says of itself: its `description`, or its first comment line."""
    files = config_files().options[group]
    return {option: _description(files[option]) for option in config_groups()[group]}


def cost(group: str, option: str) -> str:
    """Return what running an option costs, as its comment `# Cost: ...` begins; empty if it has none."""
    file = config_files().options[group][option]
    try:
        match = re.search(
            r"^# Cost: (?:by --dry-run )?(.+?)(?: on |[;,.\n])", file.read_text(errors="replace"), re.MULTILINE
        )
    except OSError:  # which its description tells
        return ""
    return match.group(1) if match else ""


def owner(group: str, option: str) -> str:
    """Return whose an option is: `yours`, `yours, instead of ours`, or nothing for a built-in one."""
    files = config_files()
    if not files.is_own(files.options[group][option]):
        return ""
    return "yours, instead of ours" if (CONF / group / f"{option}.yaml").exists() else "yours"


def _description(file: Path) -> str:
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    match = re.search(r"^\s*description:\s*[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
    return match.group(1) if match else next(iter(text.splitlines()), "").lstrip("# ")


def _require_config_folder(folder: Path) -> None:
    if not folder.is_dir():
        there = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"the config folder {folder} {there}")
    if not _is_config_folder(folder):
        inner = folder / FOLDER
        hint = f"did you mean {inner}?" if _is_config_folder(inner) else "`convsweep init DIR` makes one"
        groups = ", ".join(GROUPS)
        raise ConfigError(f"{folder} is no config folder: it must have at least one of the folders {groups}; {hint}")


def _is_config_folder(folder: Path) -> bool:
    return any((folder / group).is_dir() for group in GROUPS)


def _standing_in() -> Path | None:
    """Return the config folder in the current folder, if there is one."""
    try:
        folder = Path.cwd() / FOLDER
    except FileNotFoundError:  # deleted meanwhile
        return None
    return folder if _is_config_folder(folder) else None


def _listed(own: Path | None) -> ConfigFiles:
    options = {group: {file.stem: file for file in sorted((CONF / group).glob("*.yaml"))} for group in GROUPS}
    if own is None:
        return ConfigFiles((CONF,), (), options)
    try:
        stamps = tuple(sorted(_stamps(own)))
    except OSError as error:
        raise ConfigError(f"the config folder {error.filename} cannot be read: {reason(error)}") from error
    for name, *_ in stamps:
        file = Path(name)
        if file.parent != own:
            options[file.parent.name][file.stem] = file
    return ConfigFiles((own, CONF), stamps, options)


def _stamps(own: Path) -> Iterator[tuple[str, int, int]]:
    """Yield path, size and time of every YAML file of the folder and its groups; hidden ones are editors'."""
    for folder in (own, *(own / group for group in GROUPS if (own / group).is_dir())):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".yaml") and not entry.name.startswith(".") and entry.is_file():
                    yield entry.path, entry.stat().st_size, entry.stat().st_mtime_ns
