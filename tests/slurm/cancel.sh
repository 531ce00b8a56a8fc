#!/usr/bin/env bash
# cancel.sh REFRACT SOURCE CLUSTER: a cancelled job writes its checkpoint and stays cancelled; a preempted one too, and
# Slurm starts it again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site srun
shrink_slurm cancelled
submit single-node.sbatch --ntasks-per-node=2
wait_job_until "$job" checkpointed_0
scancel "$job"
patiently "the script's last line" log_says 'asks for no other start: the job was cancelled'
expect_end "$job" CANCELLED 0 "a cancelled job stays cancelled"
expect_status "^resume slurm-$job 1 85 " "a cancelled job has its checkpoint"
submit single-node.sbatch --ntasks-per-node=2
expect_end "$job" COMPLETED 0 "submitted again"
expect_status "^done slurm-$job 2 0 run" "submitted again"
expect_reference "cancelled and submitted again"

shrink_slurm preempted
submit multi-node.sbatch --partition=low --nodes=2 --ntasks-per-node=2
wait_job_until "$job" checkpointed_0
preempted=$job
others=$(sbatch --parsable --partition=high --exclusive --nodes=4 --output=/dev/null --wrap true) || fail "sbatch"
jobs_submitted+=("$others")
patiently "the script's last line" log_says 'asks for no other start: Slurm itself starts the job again'
grep -qE "^resume slurm-$preempted 1 85 " "$run/status" || expect_status "^(running|done) slurm-$preempted 2" "a preempted job has its checkpoint"
expect_end "$preempted" COMPLETED 1 "a preempted job, started again by Slurm"
expect_status "^done slurm-$preempted 2 0 run" "preempted"
expect_reference "preempted"
