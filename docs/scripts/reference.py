"""Write docs/reference/: config.md from conf/ and the schema, commands.md from the command line, functions.md from
convsweep.py.

python docs/scripts/reference.py
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import convsweep  # noqa: E402
from pipeline.config.groups import CONF, describe, use_config_folder  # noqa: E402
from pipeline.config.schema import RunConfig  # noqa: E402
from pipeline.config.types import hints_of, parts_of  # noqa: E402
from sweeps.cli.main import COMMANDS  # noqa: E402
from sweeps.config.ablation import AblationSweepConfig  # noqa: E402
from sweeps.config.study import StudySweepConfig  # noqa: E402

FOLDER = ROOT / "docs" / "reference"
AGAIN = "Written by `python docs/scripts/reference.py`"
WIDTH = 60  # of a default that is shown in full
MEANINGS = {
    "name": "What it is called in tables, and in MLflow's params.",
    "description": "A line on it, for `convsweep list`.",
}


class Section(NamedTuple):
    """A part of the page: its keys are in `file`, below `at` there, and are called PREFIX.KEY on a command line."""

    title: str
    file: str
    schema: type
    prefix: str = ""
    at: str = ""
    text: str = ""


SECTIONS = (
    Section("One run", "train.yaml", RunConfig, text="Of every command that trains."),
    Section("data", "data/fashion_mnist.yaml", RunConfig, "data", text="`data=NAME` chooses a dataset."),
    Section("data: arrays of your own", "data/python.yaml", RunConfig, "data", text="With `defaults: [python]`."),
    Section("data: a file of your own", "data/npz.yaml", RunConfig, "data", text="With `defaults: [npz]`."),
    Section("model", "model/conv.yaml", RunConfig, "model", text="`model=NAME` chooses a network."),
    Section("optimizer", "optimizer/adam.yaml", RunConfig, "optimizer"),
    Section("trainer", "trainer/course.yaml", RunConfig, "trainer", text="`trainer=NAME` chooses a way to train."),
    Section("store", "store/local.yaml", RunConfig, "store", text="Nothing here changes a number."),
    Section("Sweeps", "sweep.yaml", StudySweepConfig, text="Of `ablate`, `study` and `train -m`."),
    Section("statistics", "sweep.yaml", StudySweepConfig, "statistics", "statistics"),
    Section("backend", "backend/ray.yaml", StudySweepConfig, "backend", text="`backend=local` or `backend=ray`."),
    Section("Ablations", "ablation.yaml", AblationSweepConfig, text="The section `ablation`: [Claims](claims.md)."),
    Section(
        "study",
        "study/smoke.yaml",
        StudySweepConfig,
        "study",
        "study",
        "Of `convsweep study`, and as `hydra.sweeper.KEY` of `train -m`; the defaults are those of `smoke`.",
    ),
)


def commented(text: str) -> Iterator[tuple[str, str]]:
    """Yield every key of a YAML file, dotted, with the comment above it; keys that follow at once share it."""
    path: list[tuple[int, str]] = []
    comment, shared = [], ""
    for line in text.splitlines():
        if re.match(r" *#", line):
            comment.append(line.strip(" #"))
        elif match := re.match(r"( *)(\w+):(?: |$)", line):
            indent, key = len(match[1]), match[2]
            path = [(at, name) for at, name in path if at < indent] + [(indent, key)]
            shared = " ".join(comment) if comment else shared
            comment = []
            yield ".".join(name for _, name in path), shared
        else:
            comment, shared = [], "" if not line else shared


def keys_of(schema: type, prefix: str = "") -> Iterator[str]:
    """Yield every key of a config that holds a value, dotted."""
    for name, hint in hints_of(schema).items():
        kind, _, may_be_null = parts_of(hint)
        if dataclasses.is_dataclass(kind) and not may_be_null:
            yield from keys_of(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def value_at(tree: Any, path: str) -> Any:
    """Return the value below a dotted path of a tree of mappings."""
    for key in filter(None, path.split(".")):
        tree = tree[key]
    return tree


def shown(value: Any) -> str:
    """Return a default as YAML has it; of a long one only its kind."""
    text = value if isinstance(value, str) and value else json.dumps(value)
    text = text if len(text) <= WIDTH else {dict: "{...}", list: "[...]"}.get(type(value), text)
    return f"`{text}`"


def cell(text: str) -> str:
    """Return a text as a table's cell has it; what looks like HTML or emphasis is escaped."""
    return re.sub(r"([|*<>])", r"\\\1", text)


def rows(section: Section) -> Iterator[str]:
    """Yield a row of the table for every key of a section.

    Raises:
        SystemExit: if a key has no comment in conf/.
    """
    text = (CONF / section.file).read_text()
    defaults, keys = yaml.safe_load(text), set(keys_of(section.schema))
    for path, comment in commented(text):
        local = path.removeprefix(f"{section.at}.") if section.at else path
        key = f"{section.prefix}.{local}" if section.prefix else local
        if (section.at and local == path) or key not in keys or (not section.prefix and key.startswith("statistics")):
            continue
        meaning = MEANINGS.get(local) or comment
        if not meaning:
            sys.exit(f"conf/{section.file}: {path} has no comment above it, which says what it means")
        yield f"| `{key}` | {shown(value_at(defaults, path))} | {cell(meaning)} |"


def options(group: str) -> Iterator[str]:
    """Yield a row for every option of a config group: what it is, and what it sets."""
    for name, description in describe(group).items():
        tree = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
        base = tree.pop("defaults", [""])[0]
        sets = [f"{key}={shown(value)[1:-1]}" for key, value in tree.items() if key not in ("name", "description")]
        short = [word for word in sets if base and "..." not in word and "=null" not in word]
        said = ", ".join(f"`{word}`" for word in short) + (f" (on `{base}`)" if base else "")
        yield f"| `{group}={name}` | {cell(description)} | {said.strip()} |"


def config_page() -> str:
    """Return the page on config keys."""
    use_config_folder(CONF)
    parts = [
        "# Config keys",
        f"{AGAIN} from [conf/](../../conf) and its comments; the schema says that no key is left out.\n\n"
        "A key is set as `key=value` on the command line of [any command that trains](commands.md), or in a file of "
        "[your own `conf/`](../how-to/own-model-and-data.md#your-own-project). `null` is nothing. "
        "Times are in seconds and shares from 0 to 1 unless a key says otherwise.",
    ]
    seen = set()
    for section in SECTIONS:
        keys = [row for row in rows(section) if row.split("`")[1] not in seen]
        seen |= {row.split("`")[1] for row in keys}
        parts.append(f"## {section.title}")
        parts.append(f"{section.text} Explained in [conf/{section.file}](../../conf/{section.file}).".strip())
        parts.append("\n".join(["| key | default | meaning |", "| --- | --- | --- |", *keys]))
        if section.title in ("data", "model", "optimizer", "trainer", "store", "backend"):
            parts.append("\n".join(["| option | what | sets |", "| --- | --- | --- |", *options(section.title)]))
    wanted = {key for schema in (RunConfig, StudySweepConfig, AblationSweepConfig) for key in keys_of(schema)}
    if missing := sorted(key for key in wanted - seen if not key.startswith("ablation.")):
        sys.exit(f"no file of conf/ that is read here explains {', '.join(missing)}")
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Return the page on the command line."""
    parts = [
        "# Commands",
        f"{AGAIN} from the command's own help.\n\n"
        "Every command takes `--help` and `--config-dir DIR`, a folder of configs of your own that is searched before "
        "ours (default: `conf/` in the current folder, if it is one). Overrides are `key=value`: "
        "[Config keys](config.md). Exit codes: [Files, variables, exit codes](files.md#exit-codes).",
    ]
    subparsers = argparse.ArgumentParser().add_subparsers()
    for command in COMMANDS:
        command.add_parser(subparsers)
    summaries = {action.dest: action.help for action in subparsers._choices_actions}
    for name, parser in subparsers.choices.items():
        actions = [action for action in parser._actions if action.dest != "help"]
        words = [_usage(action) for action in sorted(actions, key=lambda action: not action.option_strings)]
        parts.append(f"## {name}")
        parts.append(f"{_sentence(summaries[name])}.\n\n```text\n{' '.join(['convsweep', name, *words])}\n```")
        if actions:
            lines = [f"| `{_name(action)}` | {cell(action.help or '')} |" for action in actions]
            parts.append("\n".join(["| | |", "| --- | --- |", *lines]))
    return "\n\n".join(parts) + "\n"


def _sentence(text: str | None) -> str:
    return text[0].upper() + text[1:] if text else ""


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return f"{', '.join(action.option_strings)} {value}".strip()


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"[{_name(action)} ...]"
    return f"[{_name(action).split(', ')[0] if action.nargs == 0 else _name(action)}]"


def functions_page() -> str:
    """Return the page on the functions of `import convsweep`."""
    parts = [
        "# Python functions",
        f"{AGAIN} from [convsweep.py](../../convsweep.py). [Python](python.md) says what they return; "
        "[From Python](../how-to/notebook.md) shows them in use.",
    ]
    for name in convsweep.__all__:
        if inspect.isfunction(function := getattr(convsweep, name)):
            signature = str(inspect.signature(function)).replace("'", "")
            if len(signature) > WIDTH:
                signature = re.sub(r", (?=\**\w+:|\*,)", ",\n    ", signature).replace("*,\n    ", "*, ", 1)
            parts.append(f"## {name}")
            parts.append(f"```text\nconvsweep.{name}{signature}\n\n{inspect.getdoc(function)}\n```")
    return "\n\n".join(parts) + "\n"


PAGES = {
    FOLDER / "config.md": config_page,
    FOLDER / "commands.md": commands_page,
    FOLDER / "functions.md": functions_page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
        print(f"written: {path.relative_to(ROOT)}")
