"""The Python API: what it returns, what it leaves alone, how it refuses, in scripts of its own where that matters."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convsweep
from sweeps.sweep_result import AblationResult, Figure

SMALL = {"data": "digits", "model.padding": "same", "model.filters": 4, "trainer.epochs": 1, "data.limit": 200}
HEAVY = {"tensorflow", "keras", "mlflow", "optuna", "hydra", "matplotlib", "pandas"}


def script(code: str, folder: Path, **environment: str) -> str:
    """Run a script in the folder, as a user would; return what it printed. Anything on stderr is a failure."""
    (folder / "script.py").write_text(code)
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=os.environ | paths | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, convsweep\nprint(convsweep.__version__, {HEAVY} & set(sys.modules))"
    assert script(code, tmp_path).split()[1] == "set()"
    assert {path.name for path in tmp_path.iterdir()} == {"script.py"}


def test_a_run_is_composed_from_words_or_a_mapping() -> None:
    by_words = convsweep.compose(["model.filters=16", "data=digits", "model.padding=same"])
    assert by_words == convsweep.compose({"model.filters": 16, "data": "digits", "model.padding": "same"})
    assert convsweep.compose("model.filters=[8,16]") == convsweep.compose({"model.filters": (8, np.int64(16))})


def test_the_example_in_its_docstring_is_right() -> None:
    assert doctest.testmod(convsweep) == (0, 3)


ARRAYS = ((np.zeros((4, 3)), [0, 1, 0, 1]), (np.zeros((2, 3)), [0, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: convsweep.ablate("filter_cuont"), "did you mean filter_count"),
        (lambda: convsweep.study("smok"), "did you mean smoke"),
        (lambda: convsweep.ablate("demo", {"modle.filters": 3}), "did you mean model.filters"),
        (lambda: convsweep.compose({"trainer.epochs": 0}), "trainer.epochs=0 is not allowed"),
        (lambda: convsweep.grid({"model.filters": "16"}), "a list of values is swept"),
        (lambda: convsweep.grid({"model.filters": []}), "no value to sweep over"),
        (lambda: convsweep.grid({"model.filters": [16]}, width=3), "grid() has no argument width"),
        (lambda: convsweep.grid({"model.filters": [0, 16]}), "model.filters=0 is not allowed"),
        (lambda: convsweep.grid({"model.filters": [16]}, seeds=0), "seeds=[] is not allowed"),
        (lambda: convsweep.grid({"model.filters": [16]}, data=np.zeros(3)), "two pairs of arrays"),
        (lambda: convsweep.grid({"model.filters": [16]}, data=((["a"], [0]), (["b"], [1]))), "must hold numbers"),
        (
            lambda: convsweep.grid({"optimizer": ["adam"]}, data=ARRAYS, task="clustering"),
            "task=clustering is not allowed",
        ),
        (lambda: convsweep.load_results("nothing"), "there is no store"),
        (lambda: convsweep.run({"model.filters": "many"}), "model.filters=many"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    call: object, message: str, empty: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert callable(call)
    with pytest.raises(convsweep.ConvsweepError) as told:
        call()
    assert message in str(told.value)
    assert list(empty.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_errors_have_one_base() -> None:
    for error in (convsweep.ConfigError, convsweep.DataError, convsweep.TrainingError, convsweep.StoreError):
        assert issubclass(error, convsweep.ConvsweepError)


def test_results_of_an_ablation(demo: Path) -> None:
    result = convsweep.load_results("demo")
    assert isinstance(result, AblationResult)
    table, summary = result.table, result.summary
    assert len(table) == 12
    assert list(table.columns[:2]) == ["trial", "seed"]
    assert {"test/accuracy", "parameters", "run_id", *result.sweep.varied} <= set(table.columns)
    assert sorted(set(table.seed)) == [0, 1, 2]
    row = summary[summary.trial == "conv_32"].iloc[0]
    of_it = table[table.trial == "conv_32"]["test/accuracy"]
    assert (row["test/accuracy"], row["test/accuracy std"]) == pytest.approx((of_it.mean(), of_it.std()))
    best = result.best
    assert best is not None
    assert best.metrics["test/accuracy"] == pytest.approx(summary["test/accuracy"].max())
    assert best.run_id in set(table[table.trial == best.trial].run_id)
    assert best.config.seed == table[table.run_id == best.run_id].seed.item()
    assert {finding.verdict for finding in result.findings.claims} <= {"REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"}
    for text in (repr(result), result._repr_html_()):
        assert "conv_32" in text
        assert result.findings.claims[0].verdict in text
        assert "mlruns/reports/demo/report.html" in text
        assert str(demo) not in text, "it may be committed with a notebook"


def test_a_figure_shows_itself(demo: Path) -> None:
    from sweeps.cli.main import main

    assert main(["report", "demo"]) == 0
    result = convsweep.load_results("demo")
    assert result.report.is_file()
    assert {"learning_curves", "gap"} <= set(result.figures)
    assert result.figure("learning_curves")._repr_png_().startswith(b"\x89PNG")
    assert result.figure("gap.png") == Figure(result.report.with_name("gap.png"))
    with pytest.raises(
        convsweep.ConfigError, match=r"there is no figure leraning_curves \(did you mean learning_curves"
    ):
        result.figure("leraning_curves")


# Everything that a library may change for a whole process, with a user's own settings where `loaded`.
UNCHANGED = """
import gc, logging, os, random, signal, sys, threading, warnings
loaded = {loaded}
signal.signal(signal.SIGTERM, lambda number, frame: None)
os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"
warnings.filterwarnings("ignore", "mine")
gc.set_threshold(500, 5, 5)
random.seed(3)
import numpy as np
np.random.seed(3)
if loaded:
    kept = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow logs what it finds
    import keras, matplotlib, mlflow, optuna, tensorflow
    os.dup2(kept, 2)
    from matplotlib import pyplot
    keras.config.set_floatx("float64"); keras.config.set_epsilon(1e-5)
    keras.config.set_dtype_policy("mixed_float16")
    mlflow.set_tracking_uri("sqlite:///mine.db")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    matplotlib.rcParams["lines.linewidth"] = 7.0
    pyplot.figure(5)

def state():
    found = dict(
        environment=dict(os.environ), path=list(sys.path), folder=os.getcwd(), filters=list(warnings.filters),
        gc=(gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()), random=random.getstate(),
        numpy=str(np.random.get_state()), signals=[signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        root=(logging.getLogger().level, list(logging.getLogger().handlers)), hooks=(sys.excepthook, sys.displayhook),
        streams=(sys.stdout, sys.stderr),
    )
    if loaded:
        c = keras.config
        found |= dict(
            keras=(c.floatx(), c.epsilon(), c.image_data_format(), c.dtype_policy().name, c.backend()),
            mlflow=(mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()),
            optuna=optuna.logging.get_verbosity(), open=pyplot.get_fignums(),
            levels=[logging.getLogger(n).level for n in ("mlflow", "tensorflow")],
            matplotlib=(dict.copy(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)),
        )
    return found

def compare(what, call, *given, **named):
    result = call(*given, **named)
    after = state()
    changed = [(name, before[name], after[name]) for name in before if before[name] != after[name]]
    assert not changed, (what, changed)
    return result

import convsweep
small = {small}
before = state()
run = compare("run", convsweep.run, small)
assert compare("run again", convsweep.run, small).run_id == run.run_id
result = compare("train", convsweep.train, run.config)
assert result.metrics["test/loss"] == run.metrics["test/loss"]
one = {{"backend.workers": 1}}  # each imports TensorFlow
grid = compare("grid", convsweep.grid, {{"model.filters": [2, 3]}}, small | {{"model.filters": 2}} | one, seeds=1)
assert len(grid.table) == 2 and grid.table["model.filters"].tolist() == [2, 3], grid
study = one | {{"study.n_trials": 2, "study.confirm_seeds": [7], "seeds": [0], "trainer.epochs": 1}}
found = compare("study", convsweep.study, "smoke", study)
assert len(found.table) == 2 and found.best.config.seed == 7 and len(found.figures) > 2, found
assert compare("load_results", convsweep.load_results, grid.name).table.equals(grid.table)
assert "tensorflow" in sys.modules or not loaded
assert loaded or not {{"tensorflow", "keras"}} & set(sys.modules)
print(mlflow.search_experiments is not None if loaded else "TensorFlow is not loaded")
if not loaded:
    before |= dict(gc=(gc.get_threshold(), True, gc.get_freeze_count()))
net = compare("model", run.model)
assert net.count_params() == run.metrics["parameters"]
assert compare("best", lambda: grid.best.model()).count_params() == grid.best.metrics["parameters"]
import keras
assert loaded or keras.config.dtype_policy().name == "float32"
done = []
thread = threading.Thread(target=lambda: done.append(convsweep.train(run.config)))
thread.start()
compare("in a thread", thread.join)
assert done[0].history == result.history
"""


@pytest.mark.slow
@pytest.mark.parametrize("loaded", [False, True])
def test_nothing_is_printed_and_the_program_stays_as_it_was(loaded: bool, root: Path) -> None:
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # TensorFlow itself would talk of CUDA
    told = script(UNCHANGED.format(loaded=loaded, small=SMALL), root.parent, MPLBACKEND="agg", **quiet)
    assert told == ("True\n" if loaded else "TensorFlow is not loaded\n")


# Functions that no other process can import, in a script without `if __name__ == "__main__"`.
OWN = """
import convsweep, numpy as np
rng = np.random.default_rng(0)
x = rng.normal(size=(240, 6)).astype("float32")
factor = 2

def build(input_shape, outputs, width, depth=1):
    import keras
    net = keras.Sequential([keras.Input(input_shape)])
    for _ in range(depth):
        net.add(keras.layers.Dense(width * factor, activation="relu"))
    net.add(keras.layers.Dense(outputs))
    return net

def closure(depth):
    return lambda input_shape, outputs, width: build(input_shape, outputs, width, depth)

def launch(function, y, **named):
    data = (x[:200], y[:200]), (x[200:], y[200:])
    quick = {{"trainer.epochs": 2, "backend.workers": 1}}
    return convsweep.grid(function, quick, data=data, width=[2, 8], seeds=1, **named)

classes, numbers = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0), x[:, 0] * 2
first = launch(build, classes, depth=2)
print(first.table["model.args.width"].tolist(), first.table.parameters.tolist(), first.best.model().output_shape)
print(launch(build, classes, depth=2).table.run_id.equals(first.table.run_id), convsweep.load_results(first.name).name)
print(launch(closure(3), numbers, name="numbers").sweep.objectives)
print(launch(closure(1), classes % 2, name="two", task="binary").best.model().output_shape)
try:
    launch(build, classes, widht=3)
except convsweep.ConfigError as error:
    print("input_shape, outputs, width, depth=1" in str(error))
try:
    launch(lambda input_shape, outputs, width: 1 / 0, classes, name="fails")
except convsweep.ConfigError as error:
    print("ZeroDivisionError" in str(error), "script.py" in str(error), "pipeline/" not in str(error))
"""


@pytest.mark.slow
def test_a_grid_of_a_scripts_own_function_and_arrays(root: Path) -> None:
    told = script(OWN.format(), root.parent, CONVSWEEP_CACHE_DIR=str(root.parent / "cache")).splitlines()
    assert told[0] == "[2, 8] [63.0, 435.0] (None, 3)"
    assert told[1].startswith("True width-")
    assert told[2:] == ["{'test/loss': 'minimize'}", "(None, 1)", "True", "True True True"]
