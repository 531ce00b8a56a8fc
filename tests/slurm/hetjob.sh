#!/usr/bin/env bash
# hetjob.sh REFRACT SOURCE CLUSTER: CPU ranks and ranks on GPU nodes in one world, stopped, requeued, resumed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site srun
shrink_slurm het
# sbatch's options before the separator are component 0's, those after it component 1's.
answer=$(sbatch --parsable --ntasks-per-node=2 --cpus-per-task=1 --output="$log" : \
  --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=2 jobs/hetjob.sbatch "$config" "${settings[@]}") || fail "sbatch"
job=$answer
jobs_submitted+=("$job")
wait_job_until "$job" checkpointed_0
expect_log 'roles.*|4 ranks x 1 thread on 2 hosts' "two components are one world"
grep -q '^ *layout: split' "$run/run.yaml" || fail "the roles are not split"
signal_as_walltime "$job"
patiently "the requeue" log_says "attempt: requeued job $job"
expect_end "$job" COMPLETED 1 "two kinds of nodes, requeued once"
expect_reference "two kinds of nodes"
