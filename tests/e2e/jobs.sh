#!/usr/bin/env bash
# jobs.sh REFRACT SOURCE: the job scripts without Slurm. Stand-ins for scontrol, sbatch, scancel, srun and refract write
# down how they were called; what is looked at is which status, before and after, leads to which requeue. The real
# Slurm is in tests/slurm.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
begin "$@"
unset "${!SLURM_@}" "${!REFRACT_@}" "${!SITE_@}"

bin=$work/bin run=$work/run calls=$work/calls
mkdir "$bin" "$run"
export bin run calls
printf '#!/bin/bash\necho "$(basename "$0")" "$@" >>"$calls"\n' >"$bin/call"

# scontrol: `requeue` is refused where $refuse_requeue is set, and gets the TERM that Slurm sends to every process of the
# job it requeues where $slurm_is_quick is; `show job` says $slurm_says.
cat "$bin/call" - >"$bin/scontrol" <<'SH'
case $1 in
  requeue) [ -z "${refuse_requeue:-}" ] || { echo "Requested operation is presently disabled" >&2; exit 1; }
    [ -z "${slurm_is_quick:-}" ] || kill -TERM $$ ;;
  show) echo "JobId=99 ${slurm_says-JobState=RUNNING Reason=None Restarts=${SLURM_RESTART_COUNT:-0} TimeLimit=00:10:00} x" ;;
esac
SH
cat "$bin/call" - >"$bin/sbatch" <<'SH'
[ -z "${refuse_sbatch:-}" ] || exit 1
echo "chain link ${REFRACT_CHAIN_LINK:-}" >>"$calls"
echo 100
SH
cat "$bin/call" - >"$bin/srun" <<'SH'
while [ $# -gt 0 ] && [ "$(basename "$1")" != refract ]; do shift; done
exec "$@"
SH
cp "$bin/call" "$bin/scancel"
# refract: leaves $after as the status and $line in the ledger, and ends with $leaves; where $waits is set, once it was
# asked to stop.
cat "$bin/call" - >"$bin/refract" <<'SH'
[[ " $* " != *" --print-config "* ]] || { echo "run: $run"; exit; }
trap 'echo "refract got USR1" >>"$calls"; stopped=1' USR1
if [ -n "${waits:-}" ]; then
  touch "$run/waits"
  until [ -n "${stopped:-}" ]; do sleep 0.02; done
  for _ in {1..20}; do sleep 0.02; done  # the checkpoint; a second signal would be noted
fi
[ -z "${after:-}" ] || echo "$after" >"$run/status"
[ -z "${line:-}" ] || echo "$line" >>"$run/ledger.jsonl"
exit "${leaves:-0}"
SH
chmod +x "$bin"/*
export PATH=$bin:$PATH SLURM_SUBMIT_DIR=$PWD SLURM_JOB_ID=99 SLURM_NTASKS=2
touch "$work/study.yaml"

# expect WHAT CODE CALL PATTERN: what `job` does. CALL: a call that must be among those made; `none`: no requeue.
# BEFORE, after, line, leaves and the like are set by the caller; SIGNAL is sent to the script once refract waits.
script=(jobs/single-node.sbatch "$work/study.yaml")
expect() {
  rm -rf "$run" "$calls"
  mkdir "$run"
  touch "$calls"
  [ -z "${BEFORE:-}" ] || echo "$BEFORE" >"$run/status"
  local code pid
  if [ -n "${SIGNAL:-}" ]; then
    waits=1 bash "${script[@]}" >"$work/out" 2>&1 &
    pid=$!
    until [ -e "$run/waits" ]; do kill -0 $pid 2>/dev/null || { cat "$work/out"; fail "$1: ended early"; }; sleep 0.02; done
    for signal in $SIGNAL; do
      kill -s "$signal" $pid
      until grep -q 'refract got USR1' "$calls"; do sleep 0.02; done
    done
    wait $pid
    code=$?
  else
    bash "${script[@]}" >"$work/out" 2>&1
    code=$?
  fi
  [ $code -eq "$2" ] || { cat "$work/out"; fail "$1: ended with $code, expected $2"; }
  if [ "$3" = none ]; then
    ! grep -q 'scontrol requeue' "$calls" || fail "$1: called $(grep requeue "$calls")"
  else
    grep -qE -- "$3" "$calls" || { cat "$work/out" "$calls"; fail "$1: did not call $3"; }
  fi
  grep -qE -- "$4" "$work/out" || { cat "$work/out"; fail "$1: does not say '$4'"; }
  passed "$1"
}

made='{"event":"sealed","chunk":3}'
started='{"event":"attempt","attempt":2}'
resume='resume slurm-99 2 85 stopped by a signal; start again to go on'
export after line leaves slurm_says refuse_requeue refuse_sbatch slurm_is_quick

# ---- which end leads to a requeue
BEFORE='resume slurm-99 1 85 x' after=$resume leaves=85 expect "stopped, got on" 0 '^scontrol requeue 99$' 'requeued job 99'
after=$resume leaves=85 expect "stopped at the first start" 0 '^scontrol requeue 99$' 'requeued job 99'
after=$resume leaves=0 expect "stopped, and the launcher says 0" 0 '^scontrol requeue 99$' 'requeued'
after='done slurm-99 2 0 run' leaves=0 expect "done" 0 none 'attempt 2: done: run'
after='done slurm-99 2 0 run' leaves=1 expect "done, and the launcher says 1" 0 none 'done: run'
after='stuck slurm-99 2 85 x' leaves=85 expect "stuck" 85 none 'stuck: .*--time'
after='failed slurm-99 2 4 disk full while writing x' leaves=4 expect "failed" 4 none 'failed: disk full while writing x'
after='failed slurm-99 2 4 x' leaves=0 expect "failed, and the launcher says 0" 4 none 'failed: x'
BEFORE='resume slurm-99 2 85 x' leaves=4 expect "refused, the old status stays" 4 none 'never owned the run'
BEFORE='resume slurm-99 2 85 x' leaves=85 expect "refused with 85" 85 none 'never owned the run'
BEFORE='resume slurm-7 1 85 x' after='resume slurm-7 2 85 x' leaves=4 \
  expect "refused, another job's attempt has grown meanwhile" 4 none 'never owned the run .*of slurm-7'
leaves=2 expect "refused before there was a status" 2 none 'never owned the run'
BEFORE='running slurm-99 1' after='running slurm-99 2' line=$made leaves=4 expect "crashed after it got on" 0 '^scontrol requeue 99$' 'crashed .code 4., after it got on'
after='running slurm-99 2' line=$started leaves=4 expect "crashed before it got on" 4 none 'crashed .code 4. before it got on'
BEFORE='running slurm-99 1' leaves=4 expect "an old crash, and refused" 4 none 'never owned the run'
after='flying slurm-99 2' leaves=0 expect "a word of a newer refract" 4 none "'flying' is none"

# ---- bounds, and sites that forbid it
after=$resume leaves=85 SLURM_RESTART_COUNT=49 expect "the last of fifty starts" 85 none 'start 50 of REFRACT_MAX_ATTEMPTS=50'
after=$resume leaves=85 SLURM_RESTART_COUNT=1 REFRACT_MAX_ATTEMPTS=3 expect "the last but one of three" 0 'requeue 99' requeued
after=$resume leaves=85 slurm_is_quick=1 expect "a requeue that ends this job before Slurm's own answer" 0 'requeue 99' 'requeued job 99'
after=$resume leaves=85 refuse_requeue=1 expect "a requeue that Slurm refuses" 85 'requeue 99' 'presently disabled'
echo 'SITE_REQUEUE=no' >"$work/site.env"
REFRACT_SITE=$work/site.env after=$resume leaves=85 expect "a site without requeue" 85 none 'SITE_REQUEUE is no'

# ---- signals
SIGNAL=USR1 after=$resume leaves=85 expect "ahead of the walltime" 0 'requeue 99' 'SIGUSR1: the ranks are asked'
SIGNAL='USR1 TERM CONT TERM' after=$resume leaves=85 expect "signals that repeat are handed on once" 0 'requeue 99' 'SIG(USR1|TERM): the ranks'
[ "$(grep -c 'refract got USR1' "$calls")" -eq 1 ] || fail "the signal was handed on $(grep -c 'got USR1' "$calls") times"
SIGNAL=TERM after=$resume leaves=85 expect "TERM while Slurm says RUNNING" 0 'requeue 99' 'SIGTERM'
says() { slurm_says="JobState=COMPLETING Reason=$1 Restarts=$2" SIGNAL=TERM after=$resume leaves=85 expect "${@:3}"; }
says None 0 "scancel" 85 none 'the job was cancelled'
says TimeLimit 0 "the walltime itself" 0 'requeue 99' requeued
says None 1 "preempted: Slurm has requeued the job itself" 85 none 'Slurm itself starts the job again'

# ---- who is requeued
printf '# members\n\n%s --set run=a\n%s --set "run=b c" --set saes.*.k=4\n' "$work/study.yaml" "$work/study.yaml" >"$work/members.txt"
script=(jobs/array.sbatch "$work/members.txt")
member() { SLURM_ARRAY_JOB_ID=90 SLURM_ARRAY_TASK_ID=$1 expect "${@:2}"; }
after='resume slurm-90_1 2 85 x' leaves=85 member 1 "a member is requeued alone" 0 '^scontrol requeue 90_1$' 'requeued job 90_1'
after='resume slurm-90_1 2 85 x' leaves=85 member 1 "its line, quotes as in a shell, nothing expanded" 0 'study.yaml --set run=b c --set saes\.\*\.k=4$' requeued
after='done slurm-90_0 2 0 run' member 0 "the first line" 0 'study.yaml --set run=a$' 'done'
member 2 "a member without a line" 2 none 'has 2 members, 0 to 1; this is member 2'
expect "no array" 2 none 'sbatch --array'

# ---- launch lines
script=(jobs/multi-node.sbatch "$work/study.yaml" --set saes.0.k=4)
after='done slurm-99 1 0 run' expect "mpirun is left to refract" 0 '^refract run --ranks 2 .*/study.yaml --set saes.0.k=4$' 'done'
printf 'SITE_LAUNCHER=srun\nSITE_MPI=pmix_v4\nSITE_LAUNCHER_OPTIONS="--cpu-bind=cores -v"\n' >"$work/site.env"
export REFRACT_SITE=$work/site.env
after='done slurm-99 1 0 run' expect "srun as the site has it" 0 "^srun --mpi=pmix_v4 --kill-on-bad-exit=1 --cpu-bind=cores -v $bin/refract run .*study.yaml" 'done'
script=(jobs/hetjob.sbatch "$work/study.yaml")
SLURM_HET_SIZE=2 SLURM_NTASKS_HET_GROUP_0=3 SLURM_NTASKS_HET_GROUP_1=3 SLURM_CPUS_PER_TASK_HET_GROUP_1=8 after='done slurm-99 1 0 run' \
  expect "two kinds of nodes" 0 '--het-group=0 .*download_ranks=1 --set pipeline.tokenize_ranks=2 --set pipeline.extract_ranks=1 --set pipeline.train_ranks=2 : --het-group=1 --cpus-per-task=8 .*--threads 8$' 'done'
SLURM_HET_SIZE=2 expect "one GPU rank" 2 none 'component 1 has one rank'
expect "one kind of nodes" 2 none '1 component'
echo 'SITE_LAUNCHER=mpirun' >"$work/site.env"
SLURM_HET_SIZE=2 expect "mpirun sees one component" 2 none 'SITE_LAUNCHER is mpirun'

# ---- the chain
script=(jobs/chain.sbatch "$work/study.yaml" --set saes.0.k=4)
export SLURM_JOB_NUM_NODES=2 SLURM_NTASKS_PER_NODE=4 SLURM_JOB_PARTITION=gpu
after=$resume leaves=85 expect "a link goes on" 85 \
  '^sbatch --parsable --dependency=afterany:99 .*--nodes=2 --time=00:10:00 --ntasks-per-node=4 --partition=gpu jobs/chain.sbatch .*/study.yaml --set saes.0.k=4$' 'job 100 goes on'
grep -q 'chain link 2' "$calls" || fail "the next link does not know its number"
! grep -q scancel "$calls" || fail "the next link was taken back"
for end in 'done slurm-99 2 0 run' 'stuck slurm-99 2 85 x' 'failed slurm-99 2 4 x' ''; do
  after=$end expect "a link that ends '${end:-refused}'" "$([ "${end%% *}" = stuck ] || [ "${end%% *}" = failed ] && echo 4 || echo 0)" '^scancel 100$' 'took back job 100'
done
slurm_says='JobState=COMPLETING Reason=None Restarts=0' SIGNAL=TERM after=$resume leaves=85 expect "a link that is cancelled" 85 '^scancel 100$' 'cancelled'
REFRACT_CHAIN_LINK=50 after=$resume leaves=85 expect "the last link" 85 none 'link 50 is the last'
! grep -q '^sbatch' "$calls" || fail "the last link submitted another"
refuse_sbatch=1 after=$resume leaves=85 expect "a site that takes no job from a job" 85 none 'could not be submitted'

# ---- what a user gets wrong
script=(jobs/single-node.sbatch)
expect "no configuration" 2 none 'no configuration: sbatch'
script+=("$work/none.yaml")
expect "no such configuration" 2 none 'none.yaml cannot be read'
script=(jobs/single-node.sbatch "$work/study.yaml")
wrong_site() { printf '%s\n' "$1" >"$work/site.env" && expect "site file: $1" 2 none "$2"; }
wrong_site 'SITE_ACOUNT=x' 'site.env:1:SITE_ACOUNT=x: expected SITE_KEY'
wrong_site 'SITE_ACCOUNT=a b' 'site.env:1:.*expected SITE_KEY'
wrong_site 'echo hello' 'site.env:1:.*expected SITE_KEY'
wrong_site 'SITE_LAUNCHER=prun' 'expected srun or mpirun'
wrong_site 'SITE_LAUNCHER_OPTIONS=-v' 'are options of srun'
wrong_site 'SITE_SCRATCH=/none' 'no folder here'
wrong_site 'SITE_REFRACT=/none/refract' "no program '/none/refract'"
wrong_site 'SITE_MODULES=openmpi' "has no 'module'"
REFRACT_SITE=$work/none.env expect "no such site file" 2 none 'none.env cannot be read'
REFRACT_SITE=jobs/site/example.env after='done slurm-99 1 0 run' expect "the example site file" 0 none 'done'
