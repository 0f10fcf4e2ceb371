"""Where a training step's time goes: TensorFlow's own profile of a worker with one thread, by kind of operation.

python benchmarks/step_profile.py [OVERRIDES]      # as in model.filters=64 trainer.precision=float32
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig

KINDS = {
    "convolutions": ("Conv2D",),
    "pooling and activations": ("MaxPool", "Relu", "Softmax"),
    "dense layers": ("MatMul", "BiasAdd"),
    "Adam": ("ResourceApplyAdam",),
    "batches (gather, crop, cast)": ("Gather", "StridedSlice", "Cast", "RealDiv"),
    "scheduling of operations": ("ExecutorState", "ExecutorDone"),
}
FROM, TO = 4, 8  # hand-overs of the second epoch that are profiled


def kind_of(name: str) -> str:
    """The kind of an operation, which TensorFlow calls path:Type."""
    told = name.rpartition(":")[2] if "::" not in name else name
    return next((kind for kind, parts in KINDS.items() if any(part in told for part in parts)), "other")


def main() -> None:
    """Profile some hundred steps and print milliseconds per step by kind."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    quick = ["trainer.threads=1", "trainer.epochs=2", "trainer.evaluate_test=false", "trainer.train_eval_size=1"]
    quick.append("trainer.steps_per_execution=94")
    config = compose(RunConfig, "train", [*quick, *sys.argv[1:]])
    from pipeline.training.trainer import train

    calls, profiled = 0, [0, 0]
    with tempfile.TemporaryDirectory() as folder:

        def on_steps(epoch: int, step: int, steps: int, metrics: dict[str, float]) -> None:
            import tensorflow as tf

            nonlocal calls
            calls += epoch == 2
            if epoch == 2 and calls == FROM:
                profiled[0] = step
                tf.profiler.experimental.start(folder)
            if epoch == 2 and calls == TO:
                profiled[1] = step
                tf.profiler.experimental.stop()

        train(config, on_steps=on_steps)
        spent = _self_times(next(Path(folder).rglob("*.xplane.pb")))
    steps = profiled[1] - profiled[0]
    by_kind: Counter[str] = Counter()
    for name, picoseconds in spent.items():
        by_kind[kind_of(name)] += picoseconds
    total = sum(by_kind.values())
    print(f"{' '.join(sys.argv[1:]) or 'the default config'}: {total / steps / 1e9:.2f} ms per step, {steps} steps\n")
    for kind, picoseconds in by_kind.most_common():
        print(f"{kind:30} {picoseconds / steps / 1e9:6.3f} ms {picoseconds / total:6.1%}")


def _self_times(path: Path) -> Counter[str]:
    """Picoseconds of every operation of TensorFlow's threads, without those of operations inside it."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    spent: Counter[str] = Counter()
    for plane in space.planes:
        for line in (line for line in plane.lines if line.name.startswith("tf_")):
            events = [
                (e.offset_ps, e.offset_ps + e.duration_ps, plane.event_metadata[e.metadata_id].name)
                for e in line.events
            ]
            open_ones: list[tuple[int, str]] = []
            for start, end, name in sorted(events, key=lambda event: (event[0], -event[1])):
                while open_ones and open_ones[-1][0] <= start:
                    open_ones.pop()
                if open_ones:
                    spent[open_ones[-1][1]] -= end - start
                spent[name] += end - start
                open_ones.append((end, name))
    return spent


if __name__ == "__main__":
    main()
