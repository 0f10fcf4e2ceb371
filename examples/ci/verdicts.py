"""Print the verdicts in an ablation's claims.json as Markdown; fail where a claim is not REPRODUCED, if asked.

python verdicts.py mlruns/reports/example/claims.json [--all-reproduced]
"""

import argparse
import json
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", type=Path)
parser.add_argument("--all-reproduced", action="store_true", help="exit code 1 where a claim is INCONCLUSIVE, too")
arguments = parser.parse_args()

ablation = json.loads(arguments.file.read_text())
findings = ablation["findings"]  # a dict per claim; ablation["numbers"] has one per published number
print(f"## {ablation['name']}: {ablation['description']}\n")
print("| verdict | claim | what the seeds say |\n| --- | --- | --- |")
for finding in [*findings, *ablation["numbers"]]:
    print(f"| {finding['verdict']} | {finding['says']} | {finding['sentence']} |")
print(f"\n{ablation['made']}")
undecided = [finding["name"] for finding in findings if finding["verdict"] != "REPRODUCED"]
if arguments.all_reproduced and undecided:
    sys.exit(f"not REPRODUCED: {', '.join(undecided)}")
