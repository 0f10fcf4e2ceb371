"""`convsweep explain`: draw what a tracked model sees."""

from __future__ import annotations

import argparse

from rich.console import Console

from pipeline.config.checks import ConfigError
from sweeps.cli.arguments import MODEL, TRUST, Commands, split_words
from sweeps.cli.console import DONE


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("explain", help="what a tracked model sees: activation maps, filters, mistakes")
    parser.set_defaults(run=run)
    parser.add_argument("words", nargs="*", metavar="RUN", help=f"{MODEL}; store.root=...")
    parser.add_argument("--trust", action="store_true", help=TRUST)
    images = "images of the test set, by index (default: 0,23,28, three shoes of Fashion-MNIST)"
    parser.add_argument("--images", default="0,23,28", help=images)
    layer = "layer of which all maps are shown, for the first image (default: the first that has maps)"
    parser.add_argument("--layer", help=layer)
    parser.add_argument("--filter", type=int, default=1, help="index of the filter whose maps are shown (default: 1)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Draw the figures, log them with the run and print their paths; return the exit code."""
    from pipeline.inference.explain import explain
    from pipeline.inference.load import load_model, open_store

    try:
        images = [int(index) for index in arguments.images.split(",")]
    except ValueError:
        raise ConfigError(f"--images {arguments.images} is not allowed: write indices as in 0,23,28") from None
    (name,), overrides = split_words("explain", arguments.words, most=1)
    store, tracker = open_store(overrides)
    saved = load_model(name, store, tracker, arguments.trust)
    run_id = saved.run.run_id
    folder = store.folder / "explain" / run_id
    for path in explain(saved, images, arguments.filter, folder, console, arguments.layer):
        tracker.log_files(run_id, [path], "explain")
        console.print(str(path), soft_wrap=True, highlight=False)
    console.print(f"logged with run {run_id}", soft_wrap=True, highlight=False)
    return DONE
