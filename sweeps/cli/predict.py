"""`convsweep predict`: classify images with a tracked model."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import MODEL, TRUST, Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("predict", help="what a tracked model predicts for images, numbers or arrays")
    parser.set_defaults(run=run)
    words = f"{MODEL}; images, or folders of them; .npy files; store.root=...; names that begin with a dash after --"
    parser.add_argument("--trust", action="store_true", help=TRUST)
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw each image beside what the network sees of it"
    )
    as_is = "only resize pictures; do not make them like the training set's images: inverted, cropped, centred"
    parser.add_argument("--as-is", action="store_true", help=as_is)
    parser.add_argument("words", nargs="*", metavar="RUN FILE", help=words)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the most probable classes of every image; return the exit code."""
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
    saved = load_model(name, *open_store(overrides), arguments.trust)
    return predict(saved, images, console, arguments.figure, arguments.as_is)
