#!/usr/bin/env bash
# array.sh REFRACT SOURCE CLUSTER: a sweep of four members, two at a time, one of which is killed: it alone is requeued.
# Its reports follow when all have ended. Downloads are a job of their own before.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"
reference
site mpirun
shrink_slurm fetch
submit download.sbatch
expect_end "$job" COMPLETED 0 "download"

# Members share the data root; member 2 has the settings of the reference.
members=4
for ((m = 0; m < members; m++)); do
  shrink_slurm member$m data_root="$work/fetch/data" saes.0.k=$((m == 2 ? 8 : 4))
  printf "'%s' " "$config" "${settings[@]}"
  echo
done >"$work/members.txt"
of_member() { shrink_slurm "member$1" && data=$work/fetch/data log=$work/sweep_$1.log; }

answer=$(sbatch --parsable --array="0-$((members - 1))%2" --ntasks-per-node=2 --cpus-per-task=1 \
  --output="$work/sweep_%a.log" jobs/array.sbatch "$work/members.txt") || fail "sbatch --array"
job=$answer
jobs_submitted+=("$job")
answer=$(sbatch --parsable --array="0-$((members - 1))" --dependency=afterany:"$job" --cpus-per-task=1 \
  --output="$work/report_%a.log" jobs/report.sbatch "$work/members.txt") || fail "sbatch of the reports"
reports=$answer
jobs_submitted+=("$reports")

of_member 2
wait_job_until "${job}_2" checkpointed_0
[ "$(squeue -h -r -j "$job" -t RUNNING,COMPLETING -o %i | wc -l)" -le 2 ] || fail "more than two members run at a time"
kill -9 "$(pids_of_ranks | tail -n 1)"
patiently "member 2 to be requeued" log_says "attempt: requeued job ${job}_2"
expect_log 'killed by signal 9' "a member that is killed"
for ((m = 0; m < members; m++)); do
  of_member $m
  expect_end "${job}_$m" COMPLETED $((m == 2)) "member $m of the sweep, restarted $((m == 2)) times"
  expect_status "^done slurm-[0-9_]+ $((1 + (m == 2))) 0 run" "member $m"
  [ "$(grep -c '^attempt: job' "$log")" -eq $((1 + (m == 2))) ] || fail "member $m was started $(grep -c '^attempt: job' "$log") times"
done
of_member 2
expect_reference "the member that was killed"
for ((m = 0; m < members; m++)); do
  log=$work/report_$m.log
  expect_end "${reports}_$m" COMPLETED 0 "the report of member $m"
  [ -s "$work/member$m/run/report.html" ] || fail "member $m has no report"
done
