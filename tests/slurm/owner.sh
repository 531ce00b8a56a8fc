#!/usr/bin/env bash
# owner.sh REFRACT SOURCE CLUSTER: of two jobs on one run folder the second ends, naming the first.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site srun
shrink_slurm shared
submit single-node.sbatch --ntasks-per-node=2
first=$job
wait_job_until "$first" checkpointed_0
mapfile -t ranks < <(pids_of_ranks)
kill -STOP "${ranks[@]}"
log=$work/second.log
submit single-node.sbatch --ntasks-per-node=2
wait_job_end "$job"
kill -CONT "${ranks[@]}"
expect_log "^refract\[0\] .*slurm-$first" "the second job names the first"
expect_log 'never owned the run' "the second job is not requeued"
expect_end "$job" FAILED 0 "the second job on a run folder"
log=$work/shared.log
expect_end "$first" COMPLETED 0 "the first goes on"
expect_status "^done slurm-$first 1 0 run" "the first job"
expect_reference "the first job"
