#!/usr/bin/env bash
# chain.sh REFRACT SOURCE CLUSTER: where nothing may be requeued, each job submits the next; the last takes it back.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site mpirun 'SITE_REQUEUE=no' "SITE_SBATCH_OPTIONS=\"--output=$work/chain-%j.log\""
shrink_slurm chain
submit chain.sbatch --ntasks-per-node=2 --time=30
first=$job
wait_job_until "$first" checkpointed_0
next=$(grep -oP 'link 1: job \K\d+(?= follows)' "$log") || fail "the first link has not submitted the next"
[ "$(field "$next" Dependency | tr -d '()')" = "afterany:${first}unfulfilled" ] || fail "job $next does not wait for $first: $(field "$next" Dependency)"
signal_as_walltime "$first"
wait_job_end "$first"
expect_log "job $next goes on" "the first link"
log=$work/chain-$next.log
expect_end "$next" COMPLETED 0 "the second link ends the run"
expect_log '^attempt: job .* --ranks 2 ' "the second link has the ranks of the first"
[ "$(field "$next" TimeLimit)" = 00:30:00 ] || fail "the second link has the time $(field "$next" TimeLimit)"
last=$(grep -oP 'link 2: took back job \K\d+' "$log") || fail "the second link did not take back the third"
patiently "the third link to be gone" ended "$last"
[ "$(field "$last" JobState)" = CANCELLED ] || fail "the third link is $(field "$last" JobState)"
expect_status "^done slurm-$next 2 0 run" "chain"
expect_reference "a chain of two"
