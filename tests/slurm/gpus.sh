#!/usr/bin/env bash
# gpus.sh REFRACT SOURCE CLUSTER: the ranks of a node have a GPU each (devices that exist for Slurm alone).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
printf '#!/bin/bash\necho "local rank ${SLURM_LOCALID:-none} of $SLURMD_NODENAME sees GPU ${CUDA_VISIBLE_DEVICES:-none}"\nexec %q "$@"\n' "$refract" >"$work/refract"
chmod +x "$work/refract"
site srun 'SITE_LAUNCHER_OPTIONS="--gpus-per-task=1"'
sed -i "s|^SITE_REFRACT=.*|SITE_REFRACT=$work/refract|" "$REFRACT_SITE"
shrink_slurm gpus train.tokens=4096
submit multi-node.sbatch --nodes=2 --ntasks-per-node=2 --gpus-per-node=2
expect_end "$job" COMPLETED 0 "two nodes with two GPUs each"
for node in $(scontrol show hostnames "$(field "$job" NodeList)"); do
  for rank in 0 1; do expect_log "^local rank $rank of $node sees GPU $rank$" "a GPU for each rank"; done
done
passed "each local rank sees its own GPU"
