# shellcheck shell=bash
# Sourced by the job scripts of this folder: one attempt at a run, inside a Slurm job.
#
#   attempt_begin CONFIG [OPTIONS...]   site file, modules, binary, the run's folder
#   attempt_launch                      fills `launch`: the words that start the ranks of this allocation
#   attempt_wait                        starts them, hands on the wish to stop, sets `code`
#   attempt_end                         looks at <run>/status; asks Slurm to start this job again, or says why not
#                                       (attempt_end_unless_again: leaves the starting again to the script)
#
# What it reads: REFRACT_SITE (a file as site/example.env; without it site.env beside this file; without that the
# defaults), REFRACT_MAX_ATTEMPTS (50). What it decides on is <run>/status, `WORD JOB ATTEMPT [CODE TEXT]`
# (docs/formats/run.md), and never a launcher's exit code alone.

attempt_jobs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
attempt_site_keys=(ACCOUNT PARTITION QOS CONSTRAINT SBATCH_OPTIONS MODULES SETUP LAUNCHER MPI LAUNCHER_OPTIONS REFRACT
  GPUS SCRATCH QUOTA_COMMAND REQUEUE INTERNET DOWNLOAD_PARTITION)
max_attempts=${REFRACT_MAX_ATTEMPTS:-50}
child=''         # the process that is waited for
stop_signal=''   # the first one that came
handed_on=false  # once is enough
code=0           # of the launcher, or of refract

# Of a step that this script was submitted from: refract would take it for its own.
unset "${!SLURM_STEP_@}"

attempt_say() { echo "attempt: $*"; }
attempt_refuse() {
  echo "attempt: $*" >&2
  exit 2
}

# ---- the site ------------------------------------------------------------------------------------------------------

# `module` is a function of login shells; a job's shell often lacks it.
attempt_find_modules() {
  local init
  for init in "${LMOD_PKG:+$LMOD_PKG/init/bash}" "${MODULESHOME:+$MODULESHOME/init/bash}" \
    /etc/profile.d/lmod.sh /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/bash; do
    type module >/dev/null 2>&1 && return
    # shellcheck disable=SC1090
    [ -z "$init" ] || [ ! -r "$init" ] || source "$init"
  done
  type module >/dev/null 2>&1 ||
    attempt_refuse "SITE_MODULES is '$SITE_MODULES', but this shell has no 'module'; load them by SITE_SETUP instead"
}

attempt_site() {
  local key line file=${REFRACT_SITE:-}
  for key in "${attempt_site_keys[@]}"; do printf -v "SITE_$key" ''; done
  [ -n "$file" ] || [ ! -r "$attempt_jobs/site.env" ] || file=$attempt_jobs/site.env
  if [ -n "$file" ]; then
    [ -r "$file" ] || attempt_refuse "the site file $file cannot be read; set REFRACT_SITE to one as jobs/site/example.env"
    ! grep -q $'\r' "$file" || attempt_refuse "$file has line ends of Windows; take them out with: sed -i 's/\r\$//' $file"
    line=$(grep -nE '^SITE_[A-Z_]+=[^"]*[|&;<>()`\\]' "$file" | head -n 1)
    [ -z "$line" ] || attempt_refuse "$file:$line: quote this value, as SITE_KEY=\"value\""
    line=$(grep -nvE "^\s*(#.*)?$|^SITE_($(IFS='|' && echo "${attempt_site_keys[*]}"))=(\"[^\"]*\"|[^\"'[:space:]]*)\s*$" "$file" | head -n 1)
    [ -z "$line" ] || attempt_refuse "$file:$line: expected SITE_KEY=value or SITE_KEY=\"value\", with a key of jobs/site/example.env"
    # shellcheck disable=SC1090
    source "$file"
  fi
  : "${SITE_LAUNCHER:=mpirun}" "${SITE_MPI:=pmix}" "${SITE_REQUEUE:=yes}"
  case $SITE_LAUNCHER in
    srun) ;;
    mpirun) [ -z "$SITE_LAUNCHER_OPTIONS" ] ||
      attempt_refuse "SITE_LAUNCHER_OPTIONS are options of srun; for mpirun export OMPI_MCA_... by SITE_SETUP" ;;
    *) attempt_refuse "SITE_LAUNCHER is '$SITE_LAUNCHER'; expected srun or mpirun" ;;
  esac
  [ -z "$SITE_SETUP" ] || eval "$SITE_SETUP"
  if [ -n "$SITE_MODULES" ]; then
    attempt_find_modules
    # shellcheck disable=SC2086
    module load $SITE_MODULES || attempt_refuse "'module load $SITE_MODULES' failed; 'module avail' lists what there is"
  fi
  refract=${SITE_REFRACT:-$(command -v refract)}
  [ -x "$refract" ] ||
    attempt_refuse "there is no program '${refract:-refract}'; set SITE_REFRACT to it, or load the module that has it"
  refract=$(realpath "$refract")
}

# ---- before --------------------------------------------------------------------------------------------------------

# A stop may come at any time from here on. Slurm's SIGCONT, which goes with each SIGTERM, does a script nothing.
trap 'attempt_stop USR1' USR1
trap 'attempt_stop TERM' TERM
attempt_stop() {
  [ -n "$stop_signal" ] || attempt_say "SIG$1: the ranks are asked to write a checkpoint and end"
  stop_signal=${stop_signal:-$1}
  [ -n "$child" ] && ! $handed_on || return 0
  handed_on=true
  kill -USR1 "$child" 2>/dev/null
}

attempt_begin() {
  [ $# -ge 1 ] || attempt_refuse "no configuration: sbatch [sbatch options] jobs/SCRIPT CONFIG [refract options]"
  [ -r "$1" ] || attempt_refuse "the configuration $1 cannot be read in $PWD; paths start from the folder sbatch was called in"
  config=$(realpath "$1")
  options=("${@:2}")
  attempt_site
  [ -z "$SITE_SCRATCH" ] || cd "$SITE_SCRATCH" || attempt_refuse "SITE_SCRATCH is '$SITE_SCRATCH', which is no folder here"
  # srun takes no --cpus-per-task from the job since Slurm 22.05; and a rank must not take cores of the node that
  # are not the job's, where a site does not bind tasks.
  if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then
    export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}
  fi
  # `refract status` says where the log is.
  local log
  log=$(readlink "/proc/$$/fd/1")
  [ ! -f "$log" ] || export REFRACT_LOG=$log

  me=${SLURM_JOB_ID:-}  # of an array: this member alone is requeued
  [ -z "${SLURM_ARRAY_TASK_ID:-}" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  run=$("$refract" "${attempt_command:-run}" "$config" "${options[@]}" --print-config) || exit  # its one line says why
  run=$(sed -n 's/^run: *//p' <<<"$run" | sed 's/^"\(.*\)"$/\1/')
  [ -n "$run" ] || attempt_refuse "'$refract run $config --print-config' names no run folder"
  attempt_read
  number_before=$number work_before=$work
}

# Fills `member` with the words of line SLURM_ARRAY_TASK_ID of the file.
attempt_member() {
  [ -n "${SLURM_ARRAY_TASK_ID:-}" ] || attempt_refuse "this is no job array: sbatch --array=0-7%2 jobs/array.sbatch members.txt"
  [ $# -eq 1 ] && [ -r "$1" ] || attempt_refuse "expected one argument, a file that lists the members and can be read; got '$*' in $PWD"
  local lines
  mapfile -t lines < <(grep -vE '^[[:space:]]*(#|$)' "$1")
  [ "$SLURM_ARRAY_TASK_ID" -lt ${#lines[@]} ] ||
    attempt_refuse "$1 has ${#lines[@]} members, 0 to $((${#lines[@]} - 1)); this is member $SLURM_ARRAY_TASK_ID"
  # shellcheck disable=SC2034
  mapfile -t member < <(xargs -n 1 printf '%s\n' <<<"${lines[$SLURM_ARRAY_TASK_ID]}")
}

# same: the options of sbatch that ask for what this job has.
attempt_same_resources() {
  local limit
  limit=$(scontrol show job -o "$SLURM_JOB_ID" 2>/dev/null | grep -oE 'TimeLimit=\S+' | cut -d= -f2)
  same=(--job-name="${SLURM_JOB_NAME:-refract-chain}" --nodes="${SLURM_JOB_NUM_NODES:-1}")
  add() { [ -z "$2" ] || same+=("$1=$2"); }
  add --time "$limit"
  add --ntasks-per-node "${SLURM_NTASKS_PER_NODE:-}"
  add --cpus-per-task "${SLURM_CPUS_PER_TASK:-}"
  add --gpus-per-node "${SLURM_GPUS_PER_NODE:-}"
  add --mem "${SLURM_MEM_PER_NODE:-}"
  add --mem-per-cpu "${SLURM_MEM_PER_CPU:-}"
  add --partition "${SLURM_JOB_PARTITION:-}"
  add --account "${SLURM_JOB_ACCOUNT:-}"
  add --qos "${SLURM_JOB_QOS:-}"
}

# ---- the attempt ---------------------------------------------------------------------------------------------------

# srun starts the ranks itself; `refract run --ranks` calls mpirun, which starts them in this allocation, and hands
# on SIGUSR1.
attempt_launch() {
  if [ "$SITE_LAUNCHER" = srun ]; then
    # shellcheck disable=SC2206
    launch=(srun --mpi="$SITE_MPI" --kill-on-bad-exit=1 $SITE_LAUNCHER_OPTIONS "$refract" run "$config" "${options[@]}")
  else
    launch=("$refract" run --ranks "${SLURM_NTASKS:-1}" "$config" "${options[@]}")
  fi
}

# Both components of a heterogeneous job as one world; the ranks of component 0 fetch and tokenize.
attempt_launch_het() {
  [ "${SLURM_HET_SIZE:-1}" -eq 2 ] || attempt_refuse "this job has ${SLURM_HET_SIZE:-1} component(s), 2 are needed: keep the line '#SBATCH hetjob'"
  [ "$SITE_LAUNCHER" = srun ] || attempt_refuse "SITE_LAUNCHER is $SITE_LAUNCHER, which sees the first component of a heterogeneous job alone; it needs srun with PMIx (srun --mpi=list)"
  local cpu_ranks=${SLURM_NTASKS_HET_GROUP_0:-1} gpu_ranks=${SLURM_NTASKS_HET_GROUP_1:-1} roles=(--set pipeline.layout=split)
  [ "$gpu_ranks" -ge 2 ] || attempt_refuse "component 1 has one rank; extraction and training need one each: more of --ntasks-per-node"
  # With one CPU rank refract chooses just these roles by itself.
  [ "$cpu_ranks" -eq 1 ] ||
    roles+=(--set pipeline.download_ranks=1 --set pipeline.tokenize_ranks=$((cpu_ranks - 1))
      --set pipeline.extract_ranks=$((gpu_ranks / 2)) --set pipeline.train_ranks=$((gpu_ranks - gpu_ranks / 2)))
  launch=(srun --mpi="$SITE_MPI" --kill-on-bad-exit=1)
  # shellcheck disable=SC2206
  launch+=($SITE_LAUNCHER_OPTIONS)
  local group cpus
  for group in 0 1; do
    cpus=SLURM_CPUS_PER_TASK_HET_GROUP_$group cpus=${!cpus:-}
    [ $group -eq 0 ] || launch+=(:)
    launch+=(--het-group="$group" ${cpus:+--cpus-per-task="$cpus"}
      "$refract" run "$config" "${options[@]}" "${roles[@]}" ${cpus:+--threads "$cpus"})
  done
}

# bash runs a trap only between commands, so what is waited for is in the background; a trapped signal ends `wait`
# early, so it is called until the process is gone.
attempt_wait() {
  attempt_say "job ${me:-none}, start $((${SLURM_RESTART_COUNT:-0} + 1)) on ${SLURM_JOB_NODELIST:-this machine}: ${launch[*]}"
  if [ -n "$stop_signal" ]; then
    code=85
    return
  fi
  "${launch[@]}" &
  child=$!
  [ -z "$stop_signal" ] || attempt_stop "$stop_signal"
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  wait "$child"
  code=$?
  child=''
}

# ---- after ---------------------------------------------------------------------------------------------------------

# word, job, number, rest: of the status; work: how many lines of the ledger say that something was made.
attempt_read() {
  word='' job='' number=0 rest=''
  [ ! -r "$run/status" ] || read -r word job number rest <"$run/status"
  [[ $number =~ ^[0-9]+$ ]] || number=0
  work=$(grep -cE '"event":"(prepared|ordered|sealed|checkpointed|finished)"' "$run/ledger.jsonl" 2>/dev/null)
  : "${work:=0}"
}

# Sets `verdict` (done | again | no) and `because`. An attempt of another job, which has the run, is none of ours.
attempt_judge() {
  attempt_read
  local of_this_job=false
  [ "$job" != "slurm-$me" ] && [ "$job" != "slurm-${SLURM_JOB_ID:-}" ] || of_this_job=true
  verdict=no
  if ! $of_this_job || [ "$number" -le "$number_before" ]; then
    because="this start never owned the run in $run (its status: ${word:-none}${job:+ of $job}); the lines above say why"
    [ "$code" -ne 0 ] || verdict='done' because="nothing was asked for that changes the run in $run"
    return
  fi
  case $word in
    done) verdict='done' because="done: ${rest#* }" ;;
    resume) verdict=again because='stopped on request, and it got on' ;;
    running)
      if [ "$work" -gt "$work_before" ]; then
        verdict=again because="crashed (code $code), after it got on"
      else
        because="crashed (code $code) before it got on, which another start may only repeat: read the lines above, mend the cause, submit again"
      fi ;;
    stuck) because='stuck: stopped on request before anything was made, which another start would only repeat: give it more time (--time), or smaller chunks (store.chunk_rows)' ;;
    failed) because="failed: ${rest#* }" ;;
    *) because="the status '$word' is none that this script knows; is it of a newer refract?" ;;
  esac
}

# Whether this script is to ask for another start. Slurm says of its own job: RUNNING ahead of the walltime, after a
# crash and after a signal alone; more restarts than this start's where it has requeued the job itself (preemption, a
# lost node); the reason TimeLimit when the walltime is over. What else ends it is a scancel, which must stay one.
attempt_may_ask() {
  local said
  said=$(scontrol show job -o "$me" 2>/dev/null | head -n 1)
  case $said in
    '') [ "$stop_signal" != TERM ] || because="Slurm does not say whether the job was cancelled" ;;
    *" JobState=RUNNING "* | *" Reason=TimeLimit "*) return 0 ;;
    *" Restarts=${SLURM_RESTART_COUNT:-0} "*) because='the job was cancelled' ;;
    *) because='Slurm itself starts the job again' ;;
  esac
  [ "$stop_signal" != TERM ] && [ -z "$said" ]
}

# Ends the script where nothing is to be started again.
attempt_end_unless_again() {
  attempt_judge
  attempt_say "attempt $number: $because"
  case $verdict in
    done) exit 0 ;;
    no) exit "$((code == 0 ? 4 : code))" ;;
  esac
  [ "$code" -ne 0 ] || code=85
  attempt_may_ask && return
  attempt_say "this script asks for no other start: $because. After a cancel, submit the same again to go on."
  exit "$code"
}

# The end of a script that lets Slurm start the same job again.
attempt_end() {
  attempt_end_unless_again
  local starts=$((${SLURM_RESTART_COUNT:-0} + 1)) answer
  if [ "$starts" -ge "$max_attempts" ]; then
    attempt_say "not requeued: this was start $starts of REFRACT_MAX_ATTEMPTS=$max_attempts; submit the same again to go on"
  elif [ "$SITE_REQUEUE" = no ]; then
    attempt_say "not requeued: SITE_REQUEUE is no; submit the same again to go on, or use chain.sbatch"
  # Slurm sends TERM to every process of a job that it requeues: scontrol too, which may not have its answer yet.
  elif answer=$(trap '' TERM && scontrol requeue "$me" 2>&1); then
    attempt_say "requeued job $me"
    exit 0
  else
    attempt_say "not requeued: 'scontrol requeue $me' said: $answer"
    attempt_say "unless Slurm starts it again by itself, submit the same again to go on; where a site forbids requeue, use chain.sbatch"
  fi
  exit "$code"
}
