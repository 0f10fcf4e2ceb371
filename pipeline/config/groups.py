"""Config groups: the folders of conf/, and the YAML files in them to choose from."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

CONF = Path(__file__).resolve().parents[2] / "conf"


@cache
def config_groups() -> dict[str, list[str]]:
    """Return the options of every config group, by group."""
    return {d.name: sorted(f.stem for f in d.glob("*.yaml")) for d in sorted(CONF.iterdir()) if d.is_dir()}


def describe(group: str) -> dict[str, str]:
    """Return what every option of a config group says of itself: its `description`, or its first comment line."""
    descriptions = {}
    for option in config_groups()[group]:
        text = (CONF / group / f"{option}.yaml").read_text()
        match = re.search(r"^\s*description:\s*[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
        descriptions[option] = match.group(1) if match else text.splitlines()[0].lstrip("# ")
    return descriptions
