#!/usr/bin/env bash
# nodes.sh REFRACT SOURCE CLUSTER LAUNCHER: on one, two and four nodes, through srun --mpi=pmix or mpirun: the signal
# ahead of the walltime, a checkpoint, a requeue, a resume, and the bytes of a run that was never stopped.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
launcher=$4
reference
site "$launcher"
of_nodes() { shrink_slurm "${launcher}_$1" && job=${job_of[$1]:-}; }

declare -A job_of=()
for nodes in 1 2 4; do
  of_nodes $nodes
  script=multi-node.sbatch
  [ $nodes -gt 1 ] || script=single-node.sbatch
  submit $script --nodes=$nodes --ntasks-per-node=$((nodes == 4 ? 1 : 2))
  job_of[$nodes]=$job
  wait_job_until "$job" checkpointed_0
  signal_as_walltime "$job"
  patiently "job $job to end its first start" log_says 'attempt: requeued job'
done
for nodes in 1 2 4; do
  of_nodes $nodes
  expect_end "$job" COMPLETED 1 "$launcher on $nodes node(s), requeued once"
  expect_log "^attempt: job $job, start 2 on vn" "$launcher on $nodes node(s)"
  expect_log "ranks x 1 thread on $nodes host" "$launcher on $nodes node(s)"
  expect_status "^done slurm-$job 2 0 run" "$launcher on $nodes node(s)"
  expect_reference "$launcher on $nodes node(s), stopped and resumed"
done
