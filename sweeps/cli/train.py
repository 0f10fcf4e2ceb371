"""`convsweep train`: train one run, or with -m a sweep in Hydra's grammar."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose, compose_from
from pipeline.config.schema import RunConfig
from pipeline.config.trust import require_named
from sweeps.backend_config import refuse_backend
from sweeps.cli.arguments import DRY_RUN, JOIN, OVERRIDES, Commands
from sweeps.cli.console import DONE

if TYPE_CHECKING:
    from pipeline.models.layers import Layer


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("train", help="train and track one run, or with -m a sweep of them")
    parser.set_defaults(run=run)
    parser.add_argument("overrides", nargs="*", help=OVERRIDES)
    parser.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="sweep: model.filters=16,32 is a grid, 'model.dropout=interval(0,0.5)' is sampled, seed=0,1 repeats each; "
        "hydra.sweeper.KEY=... as in conf/study and conf/sweep.yaml",
    )
    parser.add_argument(
        "--from", dest="start", metavar="FILE", help="start from a sweep's best.yaml or a run's config.yaml"
    )
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    parser.add_argument("--join", action="store_true", help=f"with -m, {JOIN}")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Train one run, start a sweep, or print the plan; return the exit code."""
    overrides = list(arguments.overrides)
    if arguments.multirun:
        from sweeps.cli.study import start_search
        from sweeps.config.multirun import compose_multirun, divide_settings

        if arguments.start is not None:
            raise ConfigError("--from starts one run; it does not go with -m")
        return start_search(compose_multirun(*divide_settings(overrides)), arguments, console)
    if arguments.join:
        raise ConfigError("--join goes with -m: an equal run of another launch is waited for and reused anyway")
    from pipeline.datasets.complete import completed
    from pipeline.models import layers as model

    refuse_backend(overrides)
    if arguments.start is None:
        config = compose(RunConfig, "train", overrides)
    else:
        config = compose_from(Path(arguments.start), overrides)
        require_named(config, overrides)
    config = completed(config, console.print)
    model.layers(config.model, config.data)  # raises for a network that does not fit
    if arguments.dry_run:
        _print_plan(config, console)
        return DONE
    from pipeline.run import run as train

    train(config, overrides, console)
    return DONE


def _print_plan(config: RunConfig, console: Console) -> None:
    from pipeline.datasets.dataset import split_sizes
    from pipeline.models.layers import summary
    from pipeline.system.hardware import resolve_precision
    from pipeline.tracking.databases import refuse_broken
    from pipeline.training.cost import START_SECONDS, expected_seconds, seconds_at
    from pipeline.training.identity import resolve
    from sweeps.execution.plan import NOT_EXTENDED, in_words

    refuse_broken(config.store)
    resolved = resolve(config, "")
    if resolved.layers is None:
        from pipeline.training.inspection import inspect

        inspection = inspect(resolved, timed=True)
        stack: Sequence[Layer] = inspection.layers
        seconds, source = seconds_at(inspection.seconds_per_step or 0, config), "from five steps of it"
    else:
        stack, source = resolved.layers, "within a factor of two"
        seconds = expected_seconds(config, stack)
    trainer, precision = config.trainer, resolve_precision(config.trainer.precision)
    sizes = ", ".join(f"{part} {size:,}" for part, size in split_sizes(config.data).items() if size)
    not_extended = f"{NOT_EXTENDED}\n" if config.optimizer.depends_on_epochs else ""
    console.print(
        f"data={config.data.name} model={config.model.name} optimizer={config.optimizer.name} seed={config.seed} "
        f"epochs={trainer.epochs} batch_size={trainer.batch_size} precision={precision}\n\n{summary(stack)}\n\n"
        f"examples: {sizes}\n"
        f"expected time: {in_words(START_SECONDS + seconds)} ({source})\n"
        f"{not_extended}"
        "dry run: nothing was trained",
        highlight=False,
    )
