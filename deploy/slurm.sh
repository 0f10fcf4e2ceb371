#!/bin/bash
# A sweep on the nodes of a SLURM allocation, which Ray joins into one cluster:
#
#   sbatch deploy/slurm.sh ablate filter_count seeds=[0,1,2,3,4]
#
# Wanted on every node: an environment with convsweep and its extra `ray`, the same everywhere. What is given after the script goes to
# convsweep. Submitted again after the time is up, the sweep goes on where it was; budget=3h30min ends it in order.
#SBATCH --job-name=convsweep
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --time=04:00:00
# --exclusive: at its end, `ray symmetric-run` ends every Ray process of the node.
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines=1)
umask 077 # whoever reads the token may run code in this allocation
RAY_AUTH_TOKEN_PATH=$HOME/.convsweep-token-$SLURM_JOB_ID
trap 'rm --force "$RAY_AUTH_TOKEN_PATH"' EXIT
openssl rand -hex 24 >"$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH RAY_USAGE_STATS_ENABLED=0
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
    -- convsweep "$@" backend=ray backend.address=auto
