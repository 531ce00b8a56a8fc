#!/usr/bin/env bash
# faults.sh REFRACT SOURCE FAULTS kill|full [all]: a run is started again and again, on one rank and on two by turns.
#   kill  each start is killed at the first fault point (FAULTS, faults.cpp) at which none was killed before, until
#         none is left: before, in and after each write, before and after each sync, rename, removal ...
#   full  at each point that a full disk can refuse, one call fails: the start ends with code 4 and one line that says
#         what to do, or goes on where the file may be missing
# Nothing half-written has a final name after any start, and the last ends with the bytes of a run without faults and
# leaves no other files. Takes a random half of the points (kill), or each point with one of two errors (full); with
# `all`, all of them. Points that only a start after a fault has are always taken. A second run is also asked to stop
# while it trains, for the points of checkpoints within a chunk.
source "$(dirname "$0")/common.sh"
begin "$1" "$2"
faults=$3
mode=$4
all=${5:-}
seed=${REFRACT_TEST_SEED:-1}
RANDOM=$seed
echo "seed $seed (REFRACT_TEST_SEED)"
export OMP_NUM_THREADS=1
export OMPI_MCA_odls_base_sigkill_timeout=0  # mpirun waits 1 s for ranks that it ends
names=$work/names

# begin_run NAME: a ring of one chunk, and a rule that removes old exports. Where the run is to stop while it trains,
# at the moment when the checkpoint before is whole, all chunks are there, so that nothing comes between.
stop_at=
begin_run() {
  name=$1
  local own=(disk.max_bytes=45MiB)
  [ -z "$stop_at" ] || own=(train.passes_per_chunk=32)
  tiny "$name" checkpoint.keep=2 "${own[@]}"
  mkdir -p "$work/$name"
  [ -z "$stop_at" ] || call_must_succeed extract
  starts=0
}

# start DO RANKS NAMES: with the fault points below this run's folder.
start() {
  LD_PRELOAD=$faults FAULTS_BELOW=$work/$name FAULTS_NAMES=$3 FAULTS_DO=$1 FAULTS_STOP_AT=$stop_at \
    timeout -k 10 600 "$refract" run "$config" "${settings[@]}" --ranks "$2" >"$log" 2>&1
}
in_names() { find "$names" -type f | wc -l; }
newest_names() { ls -t "$names" | head -"$1"; }
names_of_files() { (cd "$work/$name" && find . -type f | sed -E 's/[0-9a-f]{16}/TOKEN/g' | sort); }

# What there is without faults: the bytes and the files ...
reference() {
  begin_run "$1"
  call_must_succeed run
  fingerprint >"$work/whole.sums"
  grep -v -e ' ./saes/[a-z]*/metrics.jsonl$' -e ' ./saes/[a-z]*/latest/' "$work/whole.sums" >"$work/final.sums"
  names_of_files >"$work/whole.files"
}
# ... and the points: sets `wanted` to those that match PATTERN and are to be taken.
list_points() {
  local list=$work/$1 points point
  mkdir -p "$list"
  for ranks in 1 2; do
    begin_run "$1_$ranks"
    export FAULTS_TRACE=$work/$1_$ranks.trace
    while true; do
      start "list $mode" $ranks "$list"
      case $? in 0) break ;; 85) ;; *) tail "$log"; fail "listing the points on $ranks rank(s)" ;; esac
    done
    python3 tests/e2e/durable.py "$FAULTS_TRACE" || fail "a run on $ranks rank(s) does not outlive a power failure"
    unset FAULTS_TRACE
    passed "all that is renamed was synced before, and all that stays, on $ranks rank(s)"
  done
  mapfile -t points < <(comm -23 <(ls "$list") <(ls "$names") | grep -e "$2")
  wanted=()
  for point in "${points[@]}"; do
    if [ "$mode" = kill ] && [ -z "$all" ] && [ $((RANDOM % 2)) = 0 ]; then
      : >"$names/$point"
      aside=$((aside + 1))
    else
      wanted+=("$point")
    fi
  done
  echo "$1: ${#points[@]} points, ${#wanted[@]} of them to be taken"
}
all_taken() {
  local point
  for point in "${wanted[@]}"; do [ -e "$names/$point" ] || { missing=$point; return 1; }; done
}

# What has a final name is what a run without faults has there.
expect_whole() {
  fingerprint 2>/dev/null >"$work/now.sums"
  awk 'NR == FNR {sum[$2] = $1; next} ($2 in sum) && sum[$2] != $1 {print $2; bad = 1} END {exit bad}' \
    "$work/final.sums" "$work/now.sums" || fail "half-written under a final name after $point"
}
# A claim whose owner was killed stays where nobody needs what it claims: `refract clean` removes it.
expect_same_files() {
  "$refract" clean --yes "$config" "${settings[@]}" >"$log" 2>&1 || { cat "$log"; fail "$1: refract clean"; }
  names_of_files | diff "$work/whole.files" - || fail "$1: other files than a run without faults leaves"
  passed "$1: the same files, none left over"
}

expect_killed() {
  [ "$1" -eq 137 ] || { [ "$1" -eq 4 ] && grep -q 'killed by signal 9' "$log"; } ||
    { tail -5 "$log"; fail "a start ended with $1 instead of being killed at $point"; }
}
expect_disk_full() {
  [ "$1" -eq 4 ] || { tail -5 "$log"; fail "a start ended with $1, expected 4, at $point"; }
  [ "$(grep -c '^refract\[' "$log")" -eq 1 ] || { cat "$log"; fail "not one line of cause at $point"; }
  grep '^refract\[' "$log" | grep -q 'disk full while .*: free space there, or .*start again' ||
    { cat "$log"; fail "the line does not say what to do at $point"; }
}

# What may be missing: heartbeats, what people are told meanwhile, the list of what was seen whole, MPI-IO's test for
# locks.
droppable='^run:alive|^run:progress|^data:digests.jsonl|[.]locktest[.]'
take_all() {
  local what=$1 rounds=0 before code do=kill
  while true; do
    rounds=$((rounds + 1))
    [ $rounds -le 20 ] || fail "$what: not taken in 20 runs: $missing"
    begin_run "${what}_run_$rounds"
    while true; do
      before=$(in_names)
      starts=$((starts + 1)) ranks=$((starts % 2 + 1))
      [ "$mode" = kill ] || do=${errors[RANDOM % ${#errors[@]}]}
      { start $do $ranks "$names"; } 2>/dev/null  # the shell's own word on who was killed
      code=$?
      taken=$(($(in_names) - before))
      point=$(newest_names $taken | tr '\n' ';')
      case $code in
        0) break ;;
        85) [ -n "$stop_at" ] && continue ;;
      esac
      ended=$((ended + 1))
      echo "start $starts on $ranks rank(s): ${do/kill/killed} at $point"
      [ $taken -gt 0 ] || { tail -5 "$log"; fail "a start ended with $code at no point"; }
      expect_whole
      if [ "$mode" = kill ]; then expect_killed $code; else expect_disk_full $code; fi
    done
    expect_same_bytes "$work/whole.sums" "$what $rounds, $starts starts"
    expect_same_files "$what $rounds"
    [ $taken -eq 0 ] || [ "$mode" = full ] || fail "a start went on after it was to be killed at $point"
    newest_names $taken | grep -vE "$droppable" && fail "a start went on although a call had failed"
    all_taken && [ $((taken + starts)) -eq 1 ] && return
    [ -z "$stop_at" ] || ! all_taken || return
  done
}

everything() {
  ended=0 aside=0 stop_at=
  rm -rf "$names"
  mkdir "$names"
  reference whole
  grep -q '"evicted"' "$run/ledger.jsonl" || fail "nothing was evicted: the quota of this test is too large"
  list_points plain .
  [ ${#wanted[@]} -ge 100 ] || fail "only ${#wanted[@]} points were found"
  local listed=${#wanted[@]} taken_points
  take_all plain
  stop_at="run:saes:SAE:metrics.jsonl sync after"
  reference stopped
  list_points stopping 'step-N'
  [ ${#wanted[@]} -gt 0 ] || fail "no checkpoint within a chunk was found"
  listed=$((listed + ${#wanted[@]}))
  take_all stopping
  taken_points=$(($(in_names) - aside))
  passed "$taken_points points taken in $ended starts that they ended, $((taken_points - listed)) of them only after a fault"
}

errors=(ENOSPC EDQUOT)
if [ "$mode" = full ] && [ -n "$all" ]; then
  for error in ENOSPC EDQUOT; do
    errors=($error)
    everything
  done
else
  everything
fi
