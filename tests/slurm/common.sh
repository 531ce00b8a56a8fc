# shellcheck shell=bash
# Sourced by every slurm test: `source common.sh "$@"`. A test is called with the refract binary, the source folder and
# the folder of the cluster (cluster.sh); it submits the shipped scripts with sbatch, as a user does, and looks at the
# run folder, the job's log and what Slurm says of the job.
cluster=$3
[ -e "$cluster/cluster" ] || { echo "skipped: no Slurm runs in $cluster (cluster.sh start says why)"; exit 77; }
# shellcheck source=tests/e2e/common.sh
source "$2/tests/e2e/common.sh"
unset "${!SLURM_@}" "${!SBATCH_@}" "${!REFRACT_@}"
export SLURM_CONF=$cluster/slurm.conf
jobs_submitted=()
begin "$1" "$2"
trap 'end_slurm $?' EXIT

# Whatever happens: no job is left, and every node serves again.
end_slurm() {
  local node
  [ -e "$cluster/cluster" ] || finish 1
  [ ${#jobs_submitted[@]} -eq 0 ] || timeout 60 scancel "${jobs_submitted[@]}" 2>/dev/null
  for node in $(sinfo -h -N -p main -t down,drain,drained -o %N); do
    scontrol update nodename="$node" state=resume 2>/dev/null
  done
  if [ "$1" -ne 0 ]; then
    local one
    for one in "$work"/*.log; do echo "--- $one"; tail -n 25 "$one"; done
    scontrol show job 2>/dev/null | grep -E 'JobId=|JobState|Reason|NodeList=|Restarts' | tail -n 20
  fi
  finish "$1"
}

# site LAUNCHER [LINE...]: the site file. Two virtual nodes are one machine, on which Open MPI's shared memory
# crashes (both nodes choose the same names), and its cores are oversubscribed.
site() {
  export REFRACT_SITE=$work/site.env
  {
    echo "SITE_LAUNCHER=$1"
    echo "SITE_REFRACT=$refract"
    echo 'SITE_SETUP="export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1"'
    shift
    printf '%s\n' "$@"
  } >"$REFRACT_SITE"
}

# The shrunk demo with six chunks, so that there is much work behind every state that is waited for; the same bytes
# for any number of ranks.
shrink_slurm() {
  local name=$1
  shift
  shrink "$name" train.reduction=ordered train.tokens=24576 "$@"
}

# Sums of the run that was never stopped, on one rank; made by the first test that asks, and again for a newer build.
reference() {
  (
    flock 9
    [ "$cluster/reference.sums" -nt "$refract" ] && exit
    shrink_slurm reference
    call_must_succeed run
    fingerprint >"$work/reference.sums"
    mv "$work/reference.sums" "$cluster/reference.sums"
  ) 9>"$cluster/reference.lock" || fail "the reference could not be made"
}

# submit SCRIPT [SBATCH OPTIONS...]: with the present configuration and settings; sets `job` and `log`.
submit() {
  local script=$1 answer
  shift
  answer=$(sbatch --parsable --cpus-per-task=1 --output="$log" "$@" "jobs/$script" "$config" "${settings[@]}") ||
    fail "sbatch $script $*"
  job=${answer%%;*}
  jobs_submitted+=("$job")
}

# field JOB NAME: what Slurm says of it (JobState, Restarts, ExitCode, NodeList).
field() { scontrol show job -o "$1" 2>/dev/null | head -n 1 | grep -oP "(?<= |^)$2=\K\S*"; }
ended() { [[ $(field "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE)$ ]]; }

expect_cluster() { [ -e "$cluster/cluster" ] || fail "the cluster was stopped"; }
# Limits of failure only, and wide.
patiently() {
  local what=$1 until=$((SECONDS + 300))
  shift
  until "$@"; do
    expect_cluster
    [ $SECONDS -lt $until ] || fail "waited five minutes for: $what"
    sleep 0.1
  done
}
wait_job_end() { patiently "the end of job $1 ($(field "$1" JobState))" ended "$1"; }
started_times() { [ "$(field "$1" Restarts)" = "$2" ] && [ "$(field "$1" JobState)" = RUNNING ]; }

# wait_job_until JOB STATE: of tests/e2e/common.sh.
wait_job_until() {
  local until=$((SECONDS + 300))
  until reached "$2"; do
    expect_cluster
    ! ended "$1" || fail "job $1 ended before its run was $2"
    [ $SECONDS -lt $until ] || fail "waited five minutes for job $1 to be $2"
    sleep 0.05
  done
}

# The signal that Slurm sends ahead of the walltime, on an observed state.
signal_as_walltime() { scancel --batch --signal=USR1 "$1" || fail "scancel --batch --signal=USR1 $1"; }
# Process ids of the run's ranks, which are all on this machine.
pids_of_ranks() { grep -h '^pid ' "$run"/alive/* | cut -d' ' -f2; }
log_says() { grep -qE "$1" "$log"; }
expect_reference() { expect_same_bytes "$cluster/reference.sums" "$1"; }

expect_log() { grep -qE "$1" "$log" || fail "$2: the log does not say '$1'"; }
expect_status() { grep -qE "$1" "$run/status" || fail "$2: the status is '$(cat "$run/status")', expected '$1'"; }
expect_end() {  # JOB STATE RESTARTS WHAT
  wait_job_end "$1"
  [ "$(field "$1" JobState)" = "$2" ] || fail "$4: job $1 is $(field "$1" JobState), expected $2"
  [ "$(field "$1" Restarts)" = "$3" ] || fail "$4: job $1 was restarted $(field "$1" Restarts) times, expected $3"
  passed "$4"
}
