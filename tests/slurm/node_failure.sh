#!/usr/bin/env bash
# node_failure.sh REFRACT SOURCE CLUSTER: one of two nodes is lost in the middle of a run; Slurm starts the job again on
# others, and the run goes on.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site srun
shrink_slurm lost
submit multi-node.sbatch --nodes=2 --ntasks-per-node=2
wait_job_until "$job" checkpointed_0
lost=$(scontrol show hostnames "$(field "$job" NodeList)" | tail -n 1)
kill -9 "$(cat "$cluster/slurmd.$lost.pid")"
scontrol update nodename="$lost" state=down reason=test
patiently "Slurm to start the job again" started_times "$job" 1
[[ " $(scontrol show hostnames "$(field "$job" NodeList)" | tr '\n' ' ') " != *" $lost "* ]] || fail "it was started on $lost again"
expect_end "$job" COMPLETED 1 "a node is lost, Slurm requeues"
expect_status "^done slurm-$job 2 0 run" "a node is lost"
expect_reference "a node was lost"
bash tests/slurm/cluster.sh start-node "$cluster" "$lost"
scontrol update nodename="$lost" state=resume
serves() { [ -n "$(sinfo -h -n "$1" -p main -t idle -o %N)" ]; }
patiently "$lost to serve again" serves "$lost"
