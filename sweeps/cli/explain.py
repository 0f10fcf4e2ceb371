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
    """Draw the figures, gather them on a page, log all with the run, print what was found; return the exit code."""
    from pipeline.inference.explain import explain
    from pipeline.inference.load import load_model, open_store
    from sweeps.reports.page import render

    try:
        images = [int(index) for index in arguments.images.split(",")]
    except ValueError:
        raise ConfigError(f"--images {arguments.images} is not allowed: write indices as in 0,23,28") from None
    (name,), overrides = split_words("explain", arguments.words, most=1)
    store, tracker = open_store(overrides)
    saved = load_model(name, store, tracker, arguments.trust)
    run_id = saved.run.run_id
    folder = store.folder / "explain" / run_id
    found = explain(saved, images, arguments.filter, folder, console, arguments.layer)
    title = f"What {saved.config.model.name} sees in {saved.config.data.name}, run {run_id[:8]}"
    page = folder / "explain.html"
    page.write_text(render("explain.html.j2", title=title, findings=found.findings, figures=found.figures))
    tracker.log_files(run_id, [page, *found.figures], "explain")
    for line in (*found.findings, f"figures: {page}, logged with run {run_id}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return DONE
