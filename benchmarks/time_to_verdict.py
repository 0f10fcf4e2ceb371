"""Wall time to verdict: ablations with seeds=auto, and with as many seeds for every config as a single look judges.

python benchmarks/time_to_verdict.py ROUNDS ABLATION...      # with CONVSWEEP_DATA_DIR, or what finds the data

Both ways train in a fresh store, alternating. Prints seconds, ratios, and how many claims either leaves open.
"""

from __future__ import annotations

import json
import sys

from timed import asked_rounds, convsweep, fresh, hardware, print_table, ratio_told, seconds_told

from sweeps.claims.verdicts import INCONCLUSIVE

WAYS = {"auto": ["seeds=auto"], "five": ["seeds=5", "statistics.looks=[5]"]}


def verdicts(ablation: str, way: list[str]) -> tuple[float, int]:
    """Return the wall time of an ablation in seconds, and how many of its claims it leaves open."""
    with fresh() as folder:
        seconds = convsweep(["ablate", ablation, *way], folder).seconds
        claims = json.loads((folder / "mlruns" / "reports" / ablation / "claims.json").read_text())
    return seconds, sum(finding["verdict"] == INCONCLUSIVE for finding in claims["findings"])


def main() -> None:
    """Alternate the ways and print a row per ablation."""
    rounds, rows = asked_rounds(), []
    for ablation in sys.argv[2:]:
        found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for way in list(WAYS)[:: -1 if turn % 2 else 1]:
                found[way].append(verdicts(ablation, WAYS[way]))
                print(f"round {turn + 1}, {ablation}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
        auto, five = ([seconds for seconds, _ in found[way]] for way in WAYS)
        still_open = ["/".join(str(count) for _, count in found[way]) for way in WAYS]
        rows.append([ablation, seconds_told(auto), seconds_told(five), ratio_told(auto, five), *still_open])
    print(f"{rounds} rounds: {hardware()}\n")
    print_table(["ablation", "seconds, seeds=auto", "five seeds", "ratio", "claims open, auto", "five"], rows)


if __name__ == "__main__":
    main()
