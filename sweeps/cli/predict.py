"""`convsweep predict`: classify images with a tracked model."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import MODEL, TRUST, Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("predict", help="what a tracked model says of images, numbers or arrays")
    parser.set_defaults(run=run)
    words = f"{MODEL}; images, or folders of them; .npy files; store.root=...; names that begin with a dash after --"
    parser.add_argument("--trust", action="store_true", help=TRUST)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the images with what the model says of them")
    parser.add_argument("words", nargs="*", metavar="RUN FILE", help=words)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print a class and its probability for every image; return the exit code."""
    from pipeline.inference.load import load_model, open_store
    from pipeline.inference.predict import check_figure, check_words, predict

    # An image's name may contain a `=`.
    overrides = [word for word in arguments.words if word.startswith(("store.", "store=")) and "=" in word]
    name, *images = [word for word in arguments.words if word not in overrides] or [""]
    if not images:
        raise ConfigError("name a model and at least one file, or a folder of images")
    check_words(images)
    if arguments.figure:
        check_figure(arguments.figure)
    return predict(load_model(name, *open_store(overrides), arguments.trust), images, console, arguments.figure)
