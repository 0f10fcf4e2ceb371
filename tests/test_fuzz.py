"""Odd command lines: each is done or refused, with one message, at once, and nothing is written.

`CONVSWEEP_FUZZ=20000 pytest tests/test_fuzz.py` tries as many, at random.
"""

from __future__ import annotations

import os
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.groups import config_groups
from pipeline.config.schema import RunConfig
from pipeline.config.types import dotted_keys
from sweeps.cli.main import main
from sweeps.config.ablation import AblationSweepConfig
from sweeps.config.multirun import SWEEPER, SweeperConfig
from sweeps.config.study import StudySweepConfig

COMMANDS = {"train": ["train"], "ablate": ["ablate", "demo"], "study": ["study", "smoke"], "multi": ["train", "-m"]}
SECONDS = 20.0  # of the processor's time: the machine may be busy
LONG = int(os.environ.get("CONVSWEEP_FUZZ", 0))

DIGITS = "1" * 100
SECRET = "hunter2-of-the-environment"
# Per kind of trouble the shortest command line that ended in a traceback, a hang or a wrong exit code at first.
ENDED_BADLY = [
    ("ablate", "data.class_names=[[1]]"),
    ("ablate", "data.class_names=[a,b]"),
    ("ablate", "data.files={a:[1]}"),
    ("ablate", "data.points.test_y=."),
    ("ablate", "data.shape=[8,8,2]"),
    ("ablate", "data.test_size=-1"),
    ("ablate", "data.test_size=5"),
    ("ablate", "data.train_size=5"),
    ("ablate", "ablation.claims=${seed}"),
    ("ablate", "seeds=${oc.deprecated:seed}"),
    ("ablate", f"seeds=[{','.join(map(str, range(2001)))}]"),
    ("ablate", f"statistics.harmless={DIGITS}"),
    ("ablate", f"workers_max_memory={DIGITS}"),
    ("ablate", "workers=10000"),
    ("ablate", "~model=-1"),
    ("ablate", "~model"),
    ("ablate", "store.tracking_uri="),
    ("ablate", "store.tracking_uri=.."),
    ("study", "store.optuna_url=.."),
    ("study", "store.optuna_url="),
    ("study", "store.optuna_url=x://y"),
    ("ablate", "trainer.evaluate_test=false data.val_fraction=0.1"),
    ("ablate", "ablation.claims={a/../b:{says:x,kind:rises,metric:train/loss,along:[conv_16,conv_32]}}"),
    ("ablate", "ablation.trials={a/b:{overrides:[],tick:x,published:{}}} ablation.claims={}"),
    ("ablate", "ablation.trials={a:{overrides:[seed=3],tick:x,published:{}}} ablation.claims={}"),
    ("ablate", "ablation.trials={a:{overrides:['model.filters=choice('],tick:x,published:{}}} ablation.claims={}"),
    ("multi", "+hydra.callbacks.x._target_=os.system model.filters=1,2"),
    ("multi", "hydra.job.chdir=true model.filters=1,2"),
    ("multi", "hydra.sweeper.n_trials=1.5 model.filters=1,2"),
    ("multi", "hydra.sweeper.n_trials=1e9 model.filters=1,2"),
    ("multi", "hydra.sweeper.n_trials=e model.filters=1,2"),
    ("multi", "hydra.sweeper.name=a,b model.filters=1,2"),
    ("multi", "hydra.sweeper.workers=1e99 model.filters=1,2"),
    ("multi", "hydra/launcher=basic model.filters=1,2"),
    ("multi", "~hydra.sweeper model.filters=1,2"),
    ("multi", "data.points.train_y=1,2"),
    ("multi", "data=digits,line model=line"),
    ("multi", "data=range(0,1,1e-9)"),
    ("multi", "model.dropout=range(.1,.5,1e-13)"),
    ("multi", "model.filters=range(0,1e9)"),
    ("multi", "model.filters=range(1,1000) model.dense_units=[1],[2],[3] seed=range(20)"),
    ("multi", "model.filters=range(1,900) optimizer.learning_rate=range(0.001,0.9,0.001)"),
    ("multi", "model.filters=1,2 model.filters=3,4"),
    ("multi", "model@x=conv model.filters=1,2"),
    ("multi", "seed=range(20000)"),
    ("multi", "seed=a,b"),
    ("multi", "store.root=a,b"),
    ("multi", "study=smoke model.filters=1,2"),
    ("multi", "trainer.evaluate_test=range(1,5,0)"),
    ("multi", "trainer.evaluate_test=true,false"),
    ("multi", "~data.cache=str(1) model.filters=1,2"),
    ("multi", "~data.limit=? model.filters=1,2"),
    ("multi", f"~model.dropout={'x' * 100} model.filters=1,2"),
    ("multi", "~model.kernel_size=7 model.filters=1,2"),
    ("study", "data.limit=2"),
    ("study", "data.val_fraction=0.0001"),
    ("study", "statistics.harmless=${oc.env:SECRET}"),
    ("study", "study.space={a:1}"),
    ("study", "study.space={model.filters:5}"),
    ("study", "study.space={model.filters:null}"),
    ("study", "study.space={model.filters:[1,2]}"),
    ("study", "study.space={model.filters:{when:'model.conv_layers>0'}}"),
    ("study", "study.space={model.filters:{sweep:'choice(1,2)',when:'model.conv_layers==!!python/object:x'}}"),
    ("study", "study.space={model.filters:{sweep:'choice(1,2)',when:'model.conv_layers>[1'}}"),
    ("study", "study.space={model.filters:{sweep:'choice(1,2)',when:'model.conv_layers>{'}}"),
    ("study", "study.space={model.filters:{sweep:'choice(1,2)',when:'model.pool>3'}}"),
    ("study", "study.space={model.filters:{sweep:'choice(1,2)',when:5}}"),
    ("study", "study.space={model.filters:'glob(*)'}"),
    ("study", "study.space={optimizer.learning_rate:'interval(0.1,inf)'}"),
    ("study", "study.space={optimizer.learning_rate:'interval(nan,1)'}"),
    ("study", "study.space={optimizer.learning_rate:'range(0.1,0.5,nan)'}"),
    ("study", "study.space={seed:'choice(1,2)'}"),
    ("study", "study.space={trainer.epochs:'range(1,1000000000)'}"),
    ("study", "study.space={trainer.epochs:'range(1,1000000)'}"),
    ("study", "study.space={trainer.epochs:'range(1,5,0)'}"),
    ("study", "study.space={data.val_fraction:'choice(0.0,0.1)'}"),
    ("study", "study.space=${oc.deprecated:seed}"),
    ("study", "~model=false"),
    ("train", "+data.points.test_x=${trainer.epochs} ~model=5e-324"),
    ("train", "checkpoints=null"),
    ("train", "data.class_names=${seed}"),
    ("train", "data.name=a/b"),
    ("train", "data.points.test_x="),
    ("train", "data.points={a:1}"),
    ("train", "data.task=${oc.deprecated:seed}"),
    ("train", f"data.val_fraction={DIGITS}"),
    ("train", "hydra.run.dir=x"),
    ("train", "model.augmentation=${seed}"),
    ("train", f"model.augmentation.rotate={DIGITS}"),
    ("train", "model.conv_layers=2147483648"),
    ("train", "model.conv_layers=9223372036854775808"),
    ("train", "model.conv_layers=1000 model.padding=same model.pool=none"),
    ("train", f"model.l1={DIGITS}"),
    ("train", "model.l1=${oc.env:SECRET}"),
    ("train", "model.filters=${oc.env:SECRET}"),
    ("train", "model.name=a/b"),
    ("train", "model.dense_units=[100000,100000]"),
    ("train", f"optimizer.learning_rate={DIGITS}"),
    ("train", "store.log_model=${oc.env:SECRET}"),
    ("train", "store.root=~nobody-of-this-name/x"),
    ("train", f"store.root={'x' * 5000}"),
    ("train", "seed=???"),
    ("train", f"seed={'x' * 10_001}"),
    ("train", f"model.dense_units={'[' * 500}{']' * 500}"),
    ("train", f"model.filters={'1' * 5000}"),
    ("train", f"trainer.epochs={DIGITS}"),
    ("train", "trainer.epochs=1000000000000"),
    ("train", "trainer.batch_size=1000000000000"),
    ("train", "trainer.eval_batch_size=3000000000"),
    ("train", "trainer.eval_batch_size=3e9"),
    ("train", f"trainer.stop_at_accuracy={DIGITS}"),
    ("train", "trainer.threads=1024"),
    ("train", "trainer.train_eval_size=1000000000000"),
    ("train", "trainer.steps_per_epoch=${data}"),
    ("train", "a\x00b=1"),
    ("train", "model.description=\x1b[31m"),
    ("train", "="),
    ("train", ""),
]
# Odd at first sight, and meant well.
DONE = [
    ("ablate", "seeds=[0] trainer.epochs=2"),
    ("ablate", "~ablation.claims.more_filters_fit_better"),
    ("multi", "+seed=1 data=digits model.padding=same model.filters=1,2"),
    ("multi", "data=digits model.padding=same model.filters=4,8 hydra.sweeper.seeds=[0,1] hydra.sweeper.name=x"),
    ("multi", "data=digits model.padding=same data.val_fraction=0.1 'model.dropout=interval(0,0.5)'"),
    ("study", "study.space={model.conv_layers:'range(0,2)'}"),
    ("train", "+seed=1"),
    ("train", "model.name='conv' ++trainer.epochs=3"),
]


def ended(words: list[str]) -> tuple[object, str, str]:
    """Exit code, output and complaints of a command line in an empty folder, which has to stay empty."""
    out, complaints = StringIO(), StringIO()
    begun = time.process_time()
    with TemporaryDirectory() as folder, chdir(folder), redirect_stdout(out), redirect_stderr(complaints):
        try:
            code: object = main(words)
        except SystemExit as stop:
            code = stop.code
        assert list(Path.cwd().iterdir()) == []
    assert time.process_time() - begun < SECONDS
    return code, out.getvalue(), complaints.getvalue()


def check(command: str, words: list[str], *options: str) -> int:
    """Run a command line and check how it ends; its exit code."""
    code, out, complaint = ended([*COMMANDS[command], *words, *options])
    assert code in (0, 2) or (code == 1 and "cannot be had" in complaint), complaint
    assert complaint.count("convsweep: ") == (code != 0), complaint
    assert len(complaint) < 4000
    assert SECRET not in out + complaint
    for trace in ("Traceback", "Warning", "Error:", "object_type"):
        assert trace not in complaint
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.delenv("CONVSWEEP_DATA_DIR", raising=False)


def split(line: str) -> list[str]:
    """Words of a line: a space before a key begins a new one."""
    return [word.strip("'") if word.startswith("'") else word for word in line.split(" ")]


@pytest.mark.parametrize(("command", "line"), ENDED_BADLY, ids=lambda value: repr(value[:60]))
def test_what_ended_badly_once_is_refused(command: str, line: str) -> None:
    assert check(command, split(line), "--dry-run") == 2
    assert check(command, split(line)) == 2


@pytest.mark.parametrize(("command", "line"), DONE, ids=lambda value: repr(value[:60]))
def test_what_is_odd_and_means_something_is_done(command: str, line: str) -> None:
    assert check(command, split(line), "--dry-run") == 0


GROUPS = [group for group in config_groups() if group not in ("ablation", "study")]
KEYS = sorted(
    {*dotted_keys(RunConfig), *dotted_keys(AblationSweepConfig), *dotted_keys(StudySweepConfig)}
    - {"data.urls", "data.debian_package"}
)
KEYS += [f"{SWEEPER}.{name}" for name in dotted_keys(SweeperConfig)] + ["ablation", "study", "hydra", "hydra/launcher"]
VALUES = """
0 1 2 -1 3 0.5 1.5 1e9 1e-9 5e-324 1e308 -0.0 nan inf -inf 2147483648 9223372036854775808 1e99 007 0x10 1_000
null true false yes ??? . .. / ~ * ? ! @ # % & : ; \\ ' " ( ) [ ] { } [] {} [[]] [{}] {a:1} {a:{b:[1]}} [a:1] [1,2] [0.5,x]
['a',"b"] [null] [1e99] ${seed} ${oc.env:SECRET} ${oc.deprecated:seed} ${data} ${ \\${seed} $[x] a,b 1,2 0,1,2 [1],[2] {a:1},{b:2}
null,1 x, ,x choice(1,2) choice() choice(choice(1)) choice(a) range(3) range(1,5,0) range(0,1,1e-9) range(0,1e9) range(.1,.5,1e-13)
range(5,1) range(5,1,-1) range(0.1,0.5,0.1) range(nan) range(inf) range(1,inf) range(1,5,nan) range(a) range(-3) range(1e300,2e300,1e299)
interval(0,1) interval(1,0) interval(0,0) interval(nan,1) interval(0,inf) interval(-1e308,1e308) int(interval(1,8)) int(interval(1,1e99))
tag(log,interval(0.001,1)) tag(log,interval(0,1)) tag(x,choice(1,2)) glob(*) glob(x*) glob([c*,d*],exclude=d*) glob(5) sort(3,1,2)
shuffle(1,2,3) shuffle([1,2]) shuffle(range(1,9)) str(1) str(range(1,1e9)) int(a) int(1.5) int(inf) float(range(1,1e9)) bool(x) json_str(1) f() f(x)
conv dense digits line fashion_mnist mnist adam sgd horse none each same multiclass regression binary points idx folders float32 auto
2024-01-01 !!python/object:os.system &a *a <<: - | > 'unclosed "unclosed é ü 中文 😀 \u202e 10min 1h 99999h 0s -1min
model.filters=3 conv_16 demo smoke train Default explain index.html CON a/b ../x /etc/passwd val/accuracy {val/accuracy:maximize}
{val/loss:minimize,parameters:minimize} {test/accuracy:maximize} {val/accuracy:up} {model.filters:'choice(1,2)'} {model.filters:5}
{model.filters:{sweep:'range(1,3)',when:'model.conv_layers>0'}} {model.filters:{sweep:'choice(1,2)',when:'seed>{'}} {seed:'range(3)'}
{a:{overrides:[],tick:x,published:{}}} {a:{overrides:[model=conv],tick:1,published:{N22:{test/accuracy:0.9}}}} {a:{overrides:['']}}
{c:{says:x,kind:rises,metric:train/loss,along:[conv_16,conv_32]}} {c:{says:x,kind:stops,trial:conv_16}} {c:{says:x,kind:nonsense}}
""".split()  # noqa: E501, SIM905
VALUES += ["", "1" * 100, "x" * 3000, "[" * 60, "a b", "a\nb", "a\tb", "\x00", f"[{','.join('123' * 200)}]"]

keys = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(KEYS).map(lambda key: f"{key}.x"),
    st.sampled_from(GROUPS).map(lambda key: f"{key}@x"),
    st.sampled_from(["", ".", "..", "a..b", "model.", ".model", "seed ", "data.files.train_images.name", "x" * 300]),
    st.text(max_size=8),
)
values = st.one_of(
    st.sampled_from(VALUES), st.sampled_from(VALUES), st.text(max_size=12), st.text("[]{}(),:=$'\\ 1a", max_size=12)
)
words = st.one_of(
    st.builds("{}{}={}".format, st.sampled_from(["", "", "", "", "+", "++", "~"]), st.sampled_from(KEYS), values),
    st.builds("{}{}={}".format, st.sampled_from(["", "+", "~"]), keys, values),
    st.builds("~{}".format, keys),
    st.builds("{}={}".format, st.sampled_from(GROUPS), st.sampled_from(VALUES)),
).filter(lambda word: not word.startswith("-"))


# Words that may be meant so, and lead further; several values where -m takes them.
SANE = """
data=digits data=fashion_mnist data=line data=mnist model=conv model=dense model=softmax model=line model=week3_conv optimizer=sgd
optimizer=rmsprop trainer=line trainer=course model.padding=same model.padding=valid model.pool=none model.pool=inner model.filters=4
model.filters=[4,8] model.conv_layers=0 model.conv_layers=1 model.conv_layers=3 model.kernel_size=1 model.kernel_size=9 model.stride=2
model.dense_units=[] model.dense_units=[3,4] model.dropout=0.5 model.l2=0.1 model.augmentation={flip:both,zoom:0.5} model.name=x
model.augmentation.rotate=90 data.limit=1 data.limit=2 data.limit=100 data.val_fraction=0.0001 data.val_fraction=0.9 data.val_fraction=0
data.train_fraction=0.001 trainer.epochs=1 trainer.epochs=100000 trainer.batch_size=1000000 trainer.steps_per_epoch=1 seed=7
trainer.evaluate_test=false trainer.evaluate_test=true trainer.stop_at_accuracy=0.9 trainer.train_eval_size=1 trainer.threads=256
trainer.test_shifts=[0.25] trainer.test_shifts=[0.05,0.99] trainer.test_sizes=[0.5,2]
trainer.precision=float32 store.log_model=all store.root=elsewhere checkpoints.max_gib=0 optimizer.momentum=0.9 data.task=regression
optimizer.learning_rate=1e15 data.shape=[8,8,1] data.class_names=[a,b,c] seeds=[5] seeds=[0,1,2,3,4,5,6] workers=256 budget=1s retries=0
timing.rounds=3 statistics.confidence=0.99 strict=true ablation.claims={} ablation.axis=../x ablation.name=other ~ablation.claims.x
ablation.trials={a:{overrides:[model=dense],tick:1,published:{}}} ablation.trials={a:{overrides:[data=line],tick:1,published:{}}}
study.n_trials=1 study.n_trials=null study.timeout=1 study.sampler=random study.sampler=nsga2 study.pruner=none study.confirm_seeds=[]
study.objectives={val/loss:minimize} study.objectives={val/accuracy:maximize,parameters:minimize} study.name=other
study.space={model.dropout:'interval(0,0.5)'} study.space={model:'glob(*)'} study.space={data:'choice(digits,line)'}
study.space={trainer.epochs:'tag(log,int(interval(1,100000)))'} study.space={model.conv_layers:'range(0,100)'}
study.space={model.filters:{sweep:'choice([1],[2,3],4)',when:'model.conv_layers==1'}} study.space={data.val_fraction:'range(0.1,0.9,0.1)'}
""".split()  # noqa: E501, SIM905
SWEPT = """
model.filters=1,2 model.filters=range(1,6) model=conv,dense model=glob(*) data=digits,line data=digits,mnist seed=0,1 seed=range(5)
optimizer.learning_rate=range(0.001,0.006,0.001) model.dropout=interval(0,0.5) model.conv_layers=0,1,2,3 model.dense_units=[],[1],[2,3]
trainer.epochs=1,2 trainer.evaluate_test=true,false data.val_fraction=0,0.1 data.limit=1,100 optimizer=adam,sgd model.padding=same,valid
trainer.epochs=int(interval(1,9)) optimizer.learning_rate=tag(log,interval(0.001,1)) model.name=a,b model.activation=relu,'elu'
hydra.sweeper.seeds=[3,4] hydra.sweeper.name=x hydra.sweeper.n_trials=5 hydra.sweeper.sampler=random hydra.sweeper.pruner=none
hydra.sweeper.objectives={val/loss:minimize} hydra.sweeper.objectives={test/loss:minimize} hydra.sweeper.budget=1s
""".split()  # noqa: E501, SIM905

lines = st.one_of(
    st.lists(words, min_size=1, max_size=3),
    st.lists(st.one_of(st.sampled_from(SANE), words), min_size=1, max_size=3),
    st.lists(st.sampled_from(SANE), min_size=1, max_size=4),
)
swept = st.lists(st.one_of(st.sampled_from(SWEPT), st.sampled_from(SANE)), min_size=1, max_size=4)
cases = st.one_of(
    st.tuples(st.sampled_from(["train", "ablate", "study"]), lines),
    st.tuples(st.just("multi"), st.one_of(swept, st.builds(list.__add__, swept, lines))),
)


@settings(
    max_examples=LONG or 800,
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(cases)
@pytest.mark.slow
def test_an_odd_command_line_is_done_or_refused(case: tuple[str, list[str]]) -> None:
    check(*case, "--dry-run")
