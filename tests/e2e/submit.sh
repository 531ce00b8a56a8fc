#!/usr/bin/env bash
# submit.sh REFRACT SOURCE: what `refract submit` checks and writes. sbatch and squeue are stand-ins; the real ones are
# in tests/slurm.
source "$(dirname "$0")/common.sh"
begin "$@"
unset "${!SLURM_@}" "${!REFRACT_@}" "${!SITE_@}"

bin=$work/bin
mkdir "$bin"
export calls=$work/calls
cat >"$bin/sbatch" <<'SH'
#!/bin/bash
[ -z "${refuse:-}" ] || { echo "sbatch: error: Invalid account or account/partition combination specified" >&2; exit 1; }
echo "sbatch $*" >>"$calls"
echo "Welcome to this cluster"
echo "4711;thiscluster"
SH
cat >"$bin/squeue" <<'SH'
#!/bin/bash
echo "squeue $*" >>"$calls"
[ -n "${in_queue:-}" ] && echo "$in_queue" || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
SH
chmod +x "$bin"/*
export PATH=$bin:$PATH
cat >"$work/site.env" <<'ENV'
SITE_ACCOUNT=physics
SITE_PARTITION="long"
ENV
with_site=(--site "$work/site.env")

shrink study submit.gflops=50 submit.ranks_per_node=2 submit.time=2h
call submit "${with_site[@]}" --print || { tail -5 "$log"; fail "--print"; }
grep -qx '#SBATCH --account=physics' "$log" || fail "--print shows no script with the site's account"
[ ! -e "$run" ] && [ ! -e "$calls" ] || fail "--print wrote or submitted something"
passed "--print shows the script and touches nothing"

call_must_succeed submit "${with_site[@]}"
submit=$run/submit
grep -qx "sbatch --parsable $submit/job.sbatch $submit/config.yaml" "$calls" || fail "called: $(cat "$calls")"
for line in '--partition=long' '--ntasks-per-node=2' '--time=02:00:00' '--signal=B:USR1@300' "--output=$submit/slurm-%j.log"; do
  grep -qx -- "#SBATCH $line" "$submit/job.sbatch" || { cat "$submit/job.sbatch"; fail "the script lacks $line"; }
done
bash -n "$submit/job.sbatch" && cmp -s "$submit/attempt.sh" jobs/attempt.sh || fail "the script or what it sources"
grep -q "^SITE_REFRACT=\"$(realpath "$refract")\"" "$submit/site.env" || fail "site.env does not name the program"
[ "$(cat "$submit/job")" = slurm-4711 ] || fail "the job's name is not kept: $(cat "$submit/job")"
for words in "refract status $run" "$submit/slurm-4711.log" 'scancel --batch --signal=USR1 4711' 'memory: ' 'time: '; do
  grep -qF "$words" "$log" || { cat "$log"; fail "it does not say '$words'"; }
done
"$refract" run "$submit/config.yaml" --dry-run >"$work/dry" || fail "the configuration that was written is none"
grep -q '^SITE_' "$work/dry" && fail "nonsense in the plan"
passed "script, site, configuration and job are in the run's folder; it says how to watch and to stop"

# What would fail in the job fails here.
refused() { expect_error "$1" "$2" "$3" "${@:4}"; }
submit_with() { "$refract" submit "$config" "${settings[@]}" "${with_site[@]}" "$@"; }
in_queue=PENDING refused 4 'job 4711 .* is PENDING already.*scancel 4711' "a job in the queue" submit_with
rm -r "$run"
refuse=1 refused 4 'sbatch refused the job: .*Invalid account' "what sbatch refuses" submit_with
PATH=/usr/bin:/bin
command -v sbatch >/dev/null || refused 4 'no sbatch in PATH.*--print' "a machine without Slurm" submit_with
PATH=$bin:$PATH
refused 2 'submit.memory is 100.0 MiB of a node, but its 2 rank' "a node with too little memory" submit_with --set submit.memory=100MiB
refused 2 "submit.time is '4'; expected a time with its unit" "a time without unit" submit_with --set submit.time=4
refused 2 'no longer than submit.signal_s' "a walltime within its own signal" submit_with --set submit.time=60s
refused 2 'disk.max_bytes is' "a quota below what is certain" submit_with --set disk.max_bytes=1MiB
refused 2 'SITE_LAUNCHER is mpirun' "a hetjob without srun" submit_with --set submit.script=hetjob
refused 2 'single-node, but submit.nodes is 2' "several nodes on one" submit_with --set submit.script=single-node --set submit.nodes=2
printf 'SITE_QUOTA_COMMAND="echo 1000"\n' >"$work/quota.env"
refused 4 'still to be written.*takes 1000 B more of your quota' "a file system without room" \
  "$refract" submit "$config" "${settings[@]}" --site "$work/quota.env"
printf 'SITE_QUOTA_COMMAND="echo unknown"\n' >"$work/quota.env"
refused 2 "SITE_QUOTA_COMMAND 'echo unknown' gave 'unknown'" "a quota command that gives no number" \
  "$refract" submit "$config" "${settings[@]}" --site "$work/quota.env"
printf '\nSITE_ACOUNT=x\n' >"$work/typo.env"
refused 2 "typo.env:2: no key 'SITE_ACOUNT'" "a mistake in the site file" \
  "$refract" submit "$config" "${settings[@]}" --site "$work/typo.env"
[ ! -e "$run/submit/job" ] || fail "a refused submission left a job behind"

# Slow machines: what it warns of, and that the size that it proposes is quiet.
call submit "${with_site[@]}" --print --set submit.gflops=0.005
proposal=$(grep -oE 'store.chunk_rows [0-9]+ with store.block_rows [0-9]+' "$log") ||
  { cat "$log"; fail "a chunk beyond a third of the walltime is not warned of with a size"; }
read -r _ rows _ _ blocks <<<"$proposal"
call submit "${with_site[@]}" --print --set submit.gflops=0.005 --set "store.chunk_rows=$rows" --set "store.block_rows=$blocks" ||
  { tail -3 "$log"; fail "the proposed size is refused"; }
! grep -q 'more than a third' "$log" || { grep third "$log"; fail "the proposed size is warned of again"; }
passed "a chunk of more than a third of the walltime is warned of; $proposal is not"

# A finished run, and sites that forbid requeue.
call_must_succeed run
echo 'SITE_REQUEUE=no' >>"$work/site.env"
refused 2 'training ranks: were 1, are now 2' "a run that was trained on another number of ranks" submit_with
call_must_succeed submit "${with_site[@]}" --set submit.ranks_per_node=1
grep -q 'is done; the job makes only what is missing' "$log" || fail "a finished run is not said to be"
grep -q 'job: chain.sbatch' "$log" && grep -qx '#SBATCH --no-requeue' "$run/submit/job.sbatch" || fail "no chain where requeue is forbidden"
passed "a site without requeue gets a chain"
