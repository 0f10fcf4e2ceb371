"""The `convsweep` command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from pipeline.config.checks import ConfigError, did_you_mean, shown
from pipeline.config.compose import compose, compose_from
from pipeline.config.groups import describe
from pipeline.config.schema import RunConfig, StoreConfig
from pipeline.system.messages import hide, masked, printable
from pipeline.system.tensorflow import collect_rarely, draw_off_screen

if TYPE_CHECKING:
    from sweeps.config.study import StudyConfig
    from sweeps.load import SweepResult
    from sweeps.sweep import Sweep

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

MODEL = "a run's id or its first letters, or a registered model as filter_count@best"
ABLATIONS = "an ablation, or several in turn; `convsweep list` tells which there are"
STUDIES = "a study; `convsweep list` tells which there are"
SWEEP = "a sweep, opened at its saved view"
OVERRIDES = "Hydra overrides, as in model.filters=64 trainer.epochs=3 data=mnist; conf/ explains every key"
SWEEP_KEYS = "and seeds=[0,1,2], workers=2, retries=2, budget=30min"
EPILOG = """\
convsweep list                                  what there is to run
convsweep train model.filters=64 --dry-run      the layers, the splits and the expected time of one run
convsweep train model.filters=64                train it
convsweep ablate filter_count seeds=[0,1,2]     a published experiment, beside its published numbers
convsweep study smoke                           a search with a sampler, judged on a validation split
convsweep train -m model.filters=16,32          a grid, or a search, in Hydra's own grammar
convsweep report filter_count                   its tables, figures and page again, from what is tracked
convsweep explain filter_count@best             what its best model sees
convsweep predict filter_count@best shoe.png    what that model says of a picture
convsweep ui filter_count                       its runs in MLflow's pages
convsweep doctor --relocate                     a store that was moved or copied: its files are looked for here

exit codes: 0 done, 1 something failed (or strict=true and CONTRADICTED),
2 bad config or arguments (nothing was started), 130 interrupted
"""


# Options that a value follows.
WITH_VALUE = ("--from", "--images", "--filter", "--keep")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own); the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for word in words:
        hide(word)
    for name in ("CONVSWEEP_DATA_DIR", "CONVSWEEP_CACHE_DIR"):
        if os.environ.get(name) == "":  # as unset
            del os.environ[name]
    arguments = _parser().parse_args(_options_last(words))
    console = _PatientConsole(markup=False)  # brackets in names and reasons are no styles
    if not console.is_terminal:
        console = _PatientConsole(width=140, markup=False)
    signal.signal(signal.SIGTERM, _interrupt)
    collect_rarely()
    draw_off_screen()
    try:
        return int(arguments.command(arguments, console))
    except ConfigError as error:
        return _complain(str(error), REFUSED)
    except KeyboardInterrupt:
        return _complain("interrupted; what was finished is kept, and the same command continues", INTERRUPTED)
    except Exception as error:
        from pipeline.datasets.download import DataError
        from pipeline.tracking.retry import StoreError, UnopenedStoreError
        from pipeline.training.result import TrainingError

        if isinstance(error, UnopenedStoreError):
            return _complain(str(error), REFUSED)
        if isinstance(error, StoreError | DataError | TrainingError):
            return _complain(str(error), FAILED)
        if isinstance(error, OSError):  # a full disk, missing rights
            return _complain(f"{type(error).__name__}: {error}", FAILED)
        raise


def _options_last(words: Sequence[str]) -> list[str]:
    """The words with options, and what belongs to them, at the end: argparse knows no option between overrides."""
    options: list[str] = []
    others: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    for word in words[:end]:
        is_option = word.startswith("-") or (options and options[-1] in WITH_VALUE)
        (options if is_option else others).append(word)
    return [*others, *options, *words[end:]]


def _divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and overrides among the words of a command, in whatever order they stand: an override has a `=`."""
    is_override = [("=" in word or word.startswith("~")) for word in words]
    names = [word for word, is_one in zip(words, is_override, strict=True) if not is_one]
    return names, [word for word, is_one in zip(words, is_override, strict=True) if is_one]


def _one_name(command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """The name that the words of a command have to hold, and their overrides."""
    names, overrides = _divided(words)
    _require_names(command, names)
    if len(names) > 1:
        raise ConfigError(f"{command} takes one name, not {' '.join(names)}; an override is written key=value")
    return names[0], overrides


def _require_names(command: str, names: Sequence[str]) -> None:
    if not names:
        raise ConfigError(f"the following arguments are required: name\nhelp: convsweep {command} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="convsweep",
        description="Sweeps convolutional-network variants and says whether published results hold.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    train = commands.add_parser("train", help="train and track one run, or with -m a sweep of them")
    train.set_defaults(command=_train)
    train.add_argument("overrides", nargs="*", help=OVERRIDES)
    train.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="sweep: model.filters=16,32 is a grid, 'model.dropout=interval(0,0.5)' is sampled, seed=0,1 repeats each; "
        "hydra.sweeper.KEY=... as in conf/study and conf/sweep.yaml",
    )
    train.add_argument(
        "--from", dest="start", metavar="FILE", help="start from a sweep's best.yaml or a run's config.yaml"
    )

    ablate = commands.add_parser("ablate", help="run an ablation of conf/ablation beside its published numbers")
    ablate.set_defaults(command=_ablate)
    ablate.add_argument("words", nargs="*", metavar="name", help=f"{ABLATIONS}; {OVERRIDES}; {SWEEP_KEYS}, strict=true")

    study = commands.add_parser("study", help="search a space of conf/study with a sampler")
    study.set_defaults(command=_study)
    study.add_argument(
        "words", nargs="*", metavar="name", help=f"{STUDIES}; {OVERRIDES}; {SWEEP_KEYS}, study.n_trials=30"
    )

    report = commands.add_parser("report", help="rebuild a sweep's tables, figures and page from what is tracked")
    report.set_defaults(command=_report)
    report.add_argument("words", nargs="*", metavar="name", help="sweeps that have been run; store.root=...")
    report.add_argument("--all", action="store_true", help="every ablation, and an index page over them")

    explain = commands.add_parser("explain", help="what a tracked model sees: activation maps, filters, mistakes")
    explain.set_defaults(command=_explain)
    explain.add_argument("words", nargs="*", metavar="RUN", help=f"{MODEL}; store.root=...")
    explain.add_argument(
        "--images",
        default="0,23,28",
        help="places in the test set, from 0 (default: 0,23,28, three shoes of Fashion-MNIST)",
    )
    explain.add_argument("--filter", type=int, default=1, help="the filter whose maps are shown, from 0 (default: 1)")

    predict = commands.add_parser("predict", help="class and probability of pictures, by a tracked model")
    predict.set_defaults(command=_predict)
    predict.add_argument(
        "words",
        nargs="*",
        metavar="RUN PICTURE",
        help=f"{MODEL}; files, or folders of them; store.root=...; names that begin with a dash after --",
    )

    prune = commands.add_parser("prune-cache", help="delete checkpoints of trainings; results stay")
    prune.set_defaults(command=_prune)
    prune.add_argument("overrides", nargs="*", help="store.root=...")
    prune.add_argument(
        "--keep", type=float, default=0.0, metavar="GIB", help="what may stay, those used last (default: 0, none)"
    )

    doctor = commands.add_parser("doctor", help="say whether the store was moved or copied; with --relocate, mend it")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("overrides", nargs="*", help="store.root=...")
    doctor.add_argument("--relocate", action="store_true", help="let a moved or copied store look for its files here")

    for command in (train, ablate, study):
        command.add_argument("--dry-run", action="store_true", help="print what would be done; train nothing")

    listing = commands.add_parser("list", help="models, data sets, ablations and studies, a line each")
    listing.set_defaults(command=_list)

    ui = commands.add_parser("ui", help="open MLflow's pages on this project's store")
    ui.set_defaults(command=_ui)
    ui.add_argument("words", nargs="*", metavar="name", help=f"{SWEEP}; store.root=..., store.ui_port=...")
    ui.add_argument("--no-browser", action="store_true", help="serve only, and print the address")
    return parser


class _PatientConsole(Console):
    """A console whose reader may leave (`| head -1`): the training goes on, unseen."""

    def on_broken_pipe(self) -> None:
        """Say nothing from now on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """argparse, with errors that end with where help is."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message}\nhelp: {self.prog} --help", REFUSED))


def _complain(message: str, code: int) -> int:
    lines = "\n".join(printable(line) for line in masked(message).split("\n"))
    print(f"convsweep: {lines}", file=sys.stderr)
    return code


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _train(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline.models import layers as model

    if arguments.multirun:
        return _multirun(arguments, console)
    overrides = list(arguments.overrides)
    if arguments.start is not None:
        config = compose_from(Path(arguments.start), overrides)
    else:
        config = compose(RunConfig, "train", overrides)
    model.layers(config)
    if arguments.dry_run:
        _print_plan(config, console)
        return DONE
    from pipeline.run import run

    return run(config, overrides, console)


def _multirun(arguments: argparse.Namespace, console: Console) -> int:
    from sweeps.config.study import compose_hydra_sweep, divide_settings

    if arguments.start is not None:
        raise ConfigError("--from starts one run; it does not go with -m")
    section, sweep = compose_hydra_sweep(*divide_settings(arguments.overrides))
    return _start(section, sweep, arguments.dry_run, console)


def _study(arguments: argparse.Namespace, console: Console) -> int:
    from sweeps.config.study import compose_study

    name, overrides = _one_name("study", arguments.words)
    _known_option("study", name)
    section, sweep = compose_study(name, overrides)
    return _start(section, sweep, arguments.dry_run, console)


def _start(section: StudyConfig, sweep: Sweep, dry_run: bool, console: Console) -> int:
    if dry_run:
        from sweeps.execution.plan import print_plan

        print_plan(sweep, section.description, console)
        return DONE
    from sweeps.launch import grid, study

    return _end(study(section, sweep, console) if sweep.trials is None else grid(section, sweep, console), console)


def _end(result: SweepResult, console: Console) -> int:
    """Print how a sweep ended; return the exit code."""
    for line in result.failures:
        console.print(masked(line), style="red", soft_wrap=True)
    line = f"to browse: convsweep ui {result.sweep.name}\n  which serves {result.address}"
    console.print(line, soft_wrap=True, highlight=False)
    return FAILED if result.failures else DONE


def _known_option(group: str, name: str) -> None:
    options = describe(group)
    if name not in options:
        raise ConfigError(
            f"there is no {group} {shown(name)}{did_you_mean(name, options)}. There are: {', '.join(options)}"
        )


def _print_plan(config: RunConfig, console: Console) -> None:
    from pipeline.datasets.dataset import split_sizes
    from pipeline.models.layers import summary
    from pipeline.system.hardware import resolve_precision
    from pipeline.tracking.databases import refuse_broken
    from pipeline.training.cost import START_SECONDS, expected_seconds
    from sweeps.execution.plan import in_words

    refuse_broken(config.store)
    trainer = config.trainer
    chosen = f"data={config.data.name} model={config.model.name} optimizer={config.optimizer.name} seed={config.seed}"
    trained = (
        f"epochs={trainer.epochs} batch_size={trainer.batch_size} precision={resolve_precision(trainer.precision)}"
    )
    sizes = ", ".join(f"{part} {size:,}" for part, size in split_sizes(config.data).items() if size)
    console.print(f"{chosen} {trained}\n\n{summary(config)}\n", highlight=False)
    expected = in_words(START_SECONDS + expected_seconds(config))
    console.print(f"examples: {sizes}\nexpected time: {expected} (within a factor of two)", highlight=False)
    console.print("dry run: nothing was trained", highlight=False)


def _ablate(arguments: argparse.Namespace, console: Console) -> int:
    from sweeps.config.ablation import compose_ablation

    names, overrides = _divided(arguments.words)
    _require_names("ablate", names)
    names = list(dict.fromkeys(names))
    for name in names:
        _known_option("ablation", name)
    ablations = [compose_ablation(name, overrides) for name in names]
    if arguments.dry_run:
        from sweeps.execution.plan import print_plan

        for ablation in ablations:
            print_plan(ablation.sweep, ablation.config.description, console)
        return DONE
    from pipeline.datasets.download import DataError
    from sweeps.launch import ablate

    code = DONE
    for ablation in ablations:
        try:
            result = ablate(ablation, console)
        except DataError as error:  # the others may have their data
            code = max(code, _complain(str(error), FAILED))
            continue
        code = max(code, _end(result, console))
        if ablation.strict and (wrong := result.findings.contradicted):
            why = f"{ablation.sweep.name}: strict=true, and CONTRADICTED is {', '.join(wrong)}"
            console.print(why, style="red", soft_wrap=True)
            code = FAILED
    return code


def _report(arguments: argparse.Namespace, console: Console) -> int:
    from sweeps.cli.report import rebuild, rebuild_all

    names, overrides = _divided(arguments.words)
    if bool(names) == arguments.all:
        raise ConfigError("report takes the name of a sweep, or --all")
    for name in names:
        rebuild(name, overrides, console)
    if arguments.all:
        rebuild_all(overrides, console)
    return DONE


def _explain(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline.inference.explain import explain
    from pipeline.inference.load import load_model, open_store

    try:
        images = [int(place) for place in arguments.images.split(",")]
    except ValueError:
        raise ConfigError(f"--images {arguments.images} is not allowed: write places as in 0,23,28") from None
    name, overrides = _one_name("explain", arguments.words)
    store, tracker = open_store(overrides)
    saved = load_model(name, store, tracker)
    folder = store.folder / "explain" / saved.run.run_id
    for path in explain(saved, images, arguments.filter, folder, console):
        tracker.log_files(saved.run.run_id, [path], "explain")
        console.print(str(path), soft_wrap=True, highlight=False)
    console.print(f"logged with run {saved.run.run_id}", soft_wrap=True, highlight=False)
    return DONE


def _predict(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline.inference.load import load_model, open_store
    from pipeline.inference.predict import check_words, predict

    # A picture's name may hold a `=`.
    overrides = [word for word in arguments.words if word.startswith("store.") and "=" in word]
    name, *pictures = [word for word in arguments.words if word not in overrides] or [""]
    if not pictures:
        raise ConfigError("name a model, and at least one picture, or a folder of them")
    check_words(pictures)
    return predict(load_model(name, *open_store(overrides)), pictures, console)


def _prune(arguments: argparse.Namespace, console: Console) -> int:
    from pipeline.training.checkpoints import folder_of, free

    if not arguments.keep >= 0:
        raise ConfigError(f"--keep {arguments.keep} is not allowed: write GiB, from 0")
    store: StoreConfig = compose(RunConfig, "train", arguments.overrides).store
    if not store.folder.is_dir():
        raise ConfigError(f"there is no store in {store.folder}; name another with store.root=...")
    count, freed = free(folder_of(store), arguments.keep)
    console.print(f"{count} checkpoints deleted, {freed / 2**20:,.1f} MiB freed in {folder_of(store)}", soft_wrap=True)
    return DONE


def _doctor(arguments: argparse.Namespace, console: Console) -> int:
    import sqlite3

    from pipeline.tracking.databases import refuse_broken
    from pipeline.tracking.relocation import old_roots, place_of, relocate

    store: StoreConfig = compose(RunConfig, "train", arguments.overrides).store
    if store.tracking_uri is not None:
        raise ConfigError("doctor looks at the database in store.root=..., not at that of store.tracking_uri")
    if not store.exists:
        raise ConfigError(f"there is no store in {store.folder}; name another with store.root=...")
    refuse_broken(store)
    try:
        roots = old_roots(store)
        if roots and arguments.relocate:
            console.print(f"{relocate(store)} addresses now name {store.folder}", soft_wrap=True, highlight=False)
            roots = []
    except sqlite3.Error as error:
        raise ConfigError(f"{store.folder / 'mlflow.db'} cannot be used: {error}") from error
    for root in roots:
        why = f"moved or copied: its database looks for files in {place_of(root)}; mend it with --relocate"
        console.print(f"{store.folder}: {why}", style="red", soft_wrap=True, highlight=False)
    if not roots:
        console.print(f"{store.folder}: its files are where its database says", soft_wrap=True, highlight=False)
    return FAILED if roots else DONE


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from rich.table import Table

    groups = {"models": "model=", "data sets": "data=", "ablations": "convsweep ablate ", "studies": "convsweep study "}
    for title, how in groups.items():
        group = how.rstrip("= ").removeprefix("convsweep ").replace("ablate", "ablation")
        table = Table(title=f"{title}: {how}NAME", title_justify="left", box=None, show_header=False)
        for name, description in describe(group).items():
            table.add_row(f"  {name}", description)
        console.print(table)
    return DONE


def _ui(arguments: argparse.Namespace, console: Console) -> int:
    names, overrides = _divided(arguments.words)
    if len(names) > 1:
        raise ConfigError(f"one sweep at a time: {' '.join(names)}")
    store: StoreConfig = compose(RunConfig, "train", overrides).store
    from sweeps.cli.ui import serve

    return serve(store, names[0] if names else None, open_browser=not arguments.no_browser, console=console)


if __name__ == "__main__":
    sys.exit(main())
