"""`convsweep completion`: the shell completes commands, names, config keys and options, those of a project too."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from pipeline.config.checks import ConfigError, require_one_of
from pipeline.config.groups import config_groups, describe
from pipeline.config.schema import RunConfig
from pipeline.config.types import dotted_keys, hint_at, parts_of
from sweeps.cli.arguments import Commands
from sweeps.cli.console import DONE
from sweeps.commands import GROUPS

SHELLS = {
    "bash": 'eval "$(convsweep completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(convsweep completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "convsweep completion fish | source   in ~/.config/fish/config.fish",
}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="print a script with which the shell completes commands, names, config keys and options",
        epilog="to have it in every shell:\n" + "\n".join(f"  {line}" for line in SHELLS.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shells", nargs="*", metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the script; return the exit code."""
    if len(arguments.shells) != 1:
        raise ConfigError(f"completion takes one shell: {', '.join(SHELLS)}, as in\n{SHELLS['bash']}")
    (shell,) = arguments.shells
    require_one_of("the shell", shell, SHELLS)
    from argcomplete import shellcode  # type: ignore[attr-defined]

    console.print(shellcode(["convsweep"], shell=shell), soft_wrap=True, highlight=False)
    return DONE


def complete(parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Answer the shell, which asks by an environment variable what may stand at its cursor, and exit."""
    from argcomplete import autocomplete
    from argcomplete.completers import ChoicesCompleter

    completers = {"words": candidates, "overrides": candidates, "shells": ChoicesCompleter(SHELLS)}
    for command in commands.values():
        for action in command._actions:
            if action.dest in completers:
                action.completer = completers[action.dest]  # type: ignore[attr-defined]
    autocomplete(parser)


def candidates(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return what a word that begins with `prefix` may become: a name, a key with `=`, or a key with a value."""
    key, is_override, _value = prefix.partition("=")
    command = parsed_args.command
    schema = _schema(command)
    if is_override:
        words = [f"{key}={option}" for option in _options(schema, key)]
    else:
        names = describe(GROUPS[command]) if command in GROUPS else ()
        keys = dotted_keys(schema)
        leaves = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
        words = [*names, *(f"{group}=" for group in _groups()), *(f"{key}=" for key in leaves)]
    return [word for word in words if word.startswith(prefix)]


def _groups() -> Iterator[str]:
    return (group for group in config_groups() if group not in GROUPS.values())


def _options(schema: type, key: str) -> list[str]:
    """Return the words that a key may have: a group's options, or those of its rule."""
    if key in _groups():
        return config_groups()[key]
    hint = hint_at(schema, key)
    kind, rule, may_be_null = parts_of(hint) if hint is not None else (None, None, False)
    words = [*(rule.options if rule else ()), *(("true", "false") if kind is bool else ())]
    return [*words, "null"] if may_be_null else words


def _schema(command: str) -> type:
    if command == "ablate":
        from sweeps.config.ablation import AblationSweepConfig

        return AblationSweepConfig
    if command == "study":
        from sweeps.config.study import StudySweepConfig

        return StudySweepConfig
    return RunConfig
