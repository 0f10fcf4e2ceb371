"""W2: epochs 1, 2, 4 and 8 of one config, trained once to the longest, against each trained by itself.

python benchmarks/epoch_extension.py [ROUNDS]      # with CONVSWEEP_DATA_DIR, or whatever finds Fashion-MNIST

Both ways are `convsweep train -m trainer.epochs=1,2,4,8` in a fresh store, one worker, alternating. The second is kept
from joining and continuing by `checkpoints.max_gib=0` and by a target accuracy that is never passed. Prints seconds and
ratios.
"""

from __future__ import annotations

from timed import asked_rounds, convsweep, fresh, hardware, print_table, ratio_told, seconds_told

COMMON = ["trainer.epochs=1,2,4,8", "model.filters=32", "store.log_model=none", "hydra.sweeper.workers=1"]
WAYS = {"once": [], "each by itself": ["checkpoints.max_gib=0", "trainer.stop_at_accuracy=1.0"]}


def seconds(way: list[str]) -> float:
    """Wall time of one sweep in a fresh store."""
    with fresh() as folder:
        return convsweep(["train", "-m", *COMMON, *way], folder).seconds


def main() -> None:
    """Alternate the ways and print what each took."""
    rounds = asked_rounds()
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        for name in list(WAYS)[:: -1 if turn % 2 else 1]:
            times[name].append(seconds(WAYS[name]))
    print(f"W2, {rounds} rounds, epochs 1, 2, 4 and 8 of one config: {hardware()}\n")
    rows = [[name, seconds_told(times[name]), ratio_told(times[name], times["once"])] for name in WAYS]
    print_table(["", "seconds", "times once"], rows)


if __name__ == "__main__":
    main()
