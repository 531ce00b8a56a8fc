#!/usr/bin/env bash
# walltime.sh REFRACT SOURCE CLUSTER: a job whose time is too short. The ranks are halted until Slurm's own signal has
# come, so that it comes in the middle of a run on any machine.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site srun
shrink_slurm walltime
submit single-node.sbatch --ntasks-per-node=2 --time=1 --signal=B:USR1@20
wait_job_until "$job" checkpointed_0
mapfile -t ranks < <(pids_of_ranks)
kill -STOP "${ranks[@]}"
patiently "Slurm's signal ahead of the walltime" log_says 'attempt: SIGUSR1: the ranks are asked'
kill -CONT "${ranks[@]}"
patiently "the requeue" log_says "attempt: requeued job $job"
scontrol update jobid="$job" timelimit=30  # so that the second start is not too short on a slow machine
expect_end "$job" COMPLETED 1 "stopped by Slurm ahead of the walltime, requeued once"
expect_reference "stopped by the walltime and resumed"
