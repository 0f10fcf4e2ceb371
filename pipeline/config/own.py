"""A check-up of the user's own config folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.config.groups import CONF, config_files, owner
from pipeline.system.notes import Note


def config_notes() -> Iterator[Note]:
    """Yield whether the user has a folder, which of its files stand for built-in ones, and which are broken."""
    import yaml

    files = config_files(afresh=True)
    if files.own is None:
        yield Note(f"convsweep's own, {CONF}; there is no conf/ here, and no --config-dir is given")
        return
    yield Note(f"yours, {files.own}, before convsweep's own, {CONF}")
    for group, names in files.names.items():
        for name in names:
            if whose := owner(group, name):
                yield Note(f"{group}={name} is {whose}")
    for path, *_ in files.stamps:
        try:
            yaml.safe_load(Path(path).read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            yield Note(f"{path} cannot be read: {' '.join(str(error).split())}", f"mend '{path}'")
