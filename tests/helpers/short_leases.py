"""The command with leases that expire soon: `python -m tests.helpers.short_leases SECONDS ablate demo ...`."""

from __future__ import annotations

import sys

from pipeline.tracking import lease_table, leases
from sweeps.cli.main import main

if __name__ == "__main__":
    lease_table.LEASE_SECONDS = leases.LEASE_SECONDS = float(sys.argv[1])
    leases.BEAT_SECONDS = leases.LONGEST_PAUSE = float(sys.argv[1]) / 8
    sys.exit(main(sys.argv[2:]))
