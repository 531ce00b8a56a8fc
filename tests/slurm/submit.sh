#!/usr/bin/env bash
# submit.sh REFRACT SOURCE CLUSTER: refract submit on a real Slurm: the script it writes requeues or chains as the
# shipped ones do, and refract status says how the job stands.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference

# submit_run NAME [SETTING...]: sets `job` and `log`.
submit_run() {
  shrink_slurm "$1" submit.ranks_per_node=2 submit.cpus_per_rank=1 "${@:2}"
  "$refract" submit "$config" "${settings[@]}" --site "$REFRACT_SITE" >"$work/submit.out" 2>&1 ||
    { cat "$work/submit.out"; fail "refract submit"; }
  job=$(grep -oP '^submitted: job \K\d+' "$work/submit.out") || { cat "$work/submit.out"; fail "it does not name the job"; }
  jobs_submitted+=("$job")
  log=$(grep -oP '^its log: *\K\S+' "$work/submit.out")
}
expect_says() { "$refract" status "$run" | grep -qE "$1" || { "$refract" status "$run"; fail "status does not say '$1'"; }; }

site srun
submit_run requeued submit.nodes=2
wait_job_until "$job" checkpointed_0
expect_says "running +attempt 1 of job slurm-$job"
signal_as_walltime "$job"
patiently "the requeue" log_says "attempt: requeued job $job"
expect_end "$job" COMPLETED 1 "submitted on two nodes, requeued once"
expect_says 'done'
expect_reference "submitted, stopped, and resumed"

site mpirun 'SITE_REQUEUE=no'
submit_run chained
first=$job
wait_job_until "$first" checkpointed_0
next=$(grep -oP 'link 1: job \K\d+(?= follows)' "$log") || fail "the first link has not submitted the next"
jobs_submitted+=("$next")
signal_as_walltime "$first"
wait_job_end "$first"
expect_end "$next" COMPLETED 0 "a site without requeue: the second link ends the run"
expect_says 'done'
expect_reference "submitted as a chain"

site srun
submit_run het submit.script=hetjob submit.cpu_ranks=2
expect_end "$job" COMPLETED 0 "two kinds of nodes"
expect_log '4 ranks .* on 2 hosts' "two kinds of nodes"
expect_reference "submitted on two kinds of nodes"
