#!/usr/bin/env bash
# `--ranks N`: the launcher, what its user sees when a rank fails, freezes or is killed, and that nothing stays behind.
source "$(dirname "$0")/common.sh"
begin "$@"
export OMP_NUM_THREADS=1

start() {
  "$refract" run "$config" "${settings[@]}" "$@" >"$log" 2>"$log.err" &
  pid=$!
}

pid_of_rank() { sed -n 's/^pid //p' "$run/alive/$1"; }

# The processes that were started with this run's folder on their command line.
left_behind() { pgrep -f -- "--set run=$run( |\$)" || true; }

expect_nothing_left() {
  for _ in $(seq 600); do
    [ -n "$(left_behind)" ] || { passed "$1: no process is left"; return; }
    sleep 0.1
  done
  ps -f -p "$(left_behind | tr '\n' ',' | sed 's/,$//')"
  fail "$1: processes are left"
}

# expect_end CODE PATTERN WHAT: the job in $pid ends within seconds with CODE, and says just one line refract[rank].
expect_end() {
  local started=$SECONDS
  wait "$pid"
  local found=$?
  cat "$log.err"
  [[ $found =~ ^($1)$ ]] || { tail -5 "$log"; fail "$3: exit code $found, expected $1"; }
  [ $((SECONDS - started)) -le 120 ] || fail "$3: took $((SECONDS - started)) s to end"
  [ "$(grep -c '^refract\[' "$log.err")" -eq 1 ] || fail "$3: not one line refract[rank]"
  grep '^refract\[' "$log.err" | grep -qE "$2" || fail "$3: the line does not say '$2'"
  ! grep -qE 'MPI_ABORT|mpirun|prterun|Primary job|Read -1' "$log.err" || fail "$3: the launcher's own words came through"
  passed "$3"
}

resumes_to_the_same_bytes() {
  [ "$(cut -d' ' -f1 "$run/status")" != done ] || fail "$1: it was already done, nothing was interrupted"
  call_must_succeed run --ranks 2
  expect_same_bytes "$work/one.sums" "$1, started again"
  [ ! -e "$run/alive" ] || fail "$1: alive/ is still there: $(ls "$run/alive")"
}

ordered=(train.reduction=ordered pipeline.layout=fused)
shrink one "${ordered[@]}"
call_must_succeed run
fingerprint >"$work/one.sums"

shrink two "${ordered[@]}"
call_must_succeed run --ranks 2
expect_same_bytes "$work/one.sums" "--ranks 2"
grep -qE ': 2 ranks x 1 thread on 1 host \([0-9]+ cores?' "$log" || fail "the first line does not say ranks and threads"
command=$(grep -m1 -E '(mpirun|mpiexec|srun) .* run ' "$log") || fail "the launcher's command is not shown"
rm -rf "$run" "$data"
bash -c "$command" >"$work/pasted.log" 2>&1 || { tail "$work/pasted.log"; fail "the shown command, pasted"; }
expect_same_bytes "$work/one.sums" "the shown command, pasted"
[ ! -e "$run/alive" ] || fail "alive/ stays after a run that ended well"

# Before anything starts.
expect_error 2 'unknown key' "a mistake in the settings is said once" "$refract" run "$config" --set nonsense=1 --ranks 3
expect_error 4 'install Open MPI' "no launcher in PATH" env PATH= "$refract" run "$config" "${settings[@]}" --ranks 2
expect_error 2 'leave --ranks out' "another number than the launcher started" \
  bash tests/support/mpi_launch.sh mpirun 2 "$refract" run "$config" "${settings[@]}" --ranks 3
! grep -q '^refract\[1\]' "$work/error.err" || fail "rank 1 repeats what rank 0 said"
expect_error 2 'has no option --ranks' "--ranks where there is no MPI" "$refract" download "$config" --ranks 2

shrink other "${ordered[@]}"
call_must_succeed train --ranks 2
expect_error 2 'train.clip' "what only rank 0 sees" "$refract" run "$config" "${settings[@]}" --set train.clip=0.5 --ranks 2
expect_nothing_left "an error before the work"

# A rank that throws: rank 1 may open no more files.
shrink thrown "${ordered[@]}"
start --ranks 2
wait_for_ledger $pid '"sealed"'
prlimit --pid "$(pid_of_rank 1)" --nofile=10:10
expect_end '3|4' '^refract\[1\] .*(cannot|opening|creating|Too many open files)' "a rank that throws ends the job with its code"
expect_nothing_left "a rank that throws"
resumes_to_the_same_bytes "a rank that threw"

shrink killed "${ordered[@]}"
start --ranks 2
wait_for_ledger $pid '"sealed"'
kill -9 "$(pid_of_rank 1)"
expect_end 4 '^refract\[1\] .*killed by signal 9 .*start the same command again' "a rank that is killed"
expect_nothing_left "a rank that is killed"
resumes_to_the_same_bytes "a rank that was killed"

shrink frozen "${ordered[@]}" pipeline.watchdog_s=2
start --ranks 2
wait_for_ledger $pid '"sealed"'
kill -STOP "$(pid_of_rank 1)"
expect_end 4 '^refract\[1\] .*no sign of life' "a rank that is frozen is named by the one that waits"
expect_nothing_left "a rank that is frozen"
resumes_to_the_same_bytes "a rank that was frozen"

# The process and all below it.
family() {
  local child
  echo "$1"
  for child in $(pgrep -P "$1"); do family "$child"; done
}

for signal in TERM INT USR1 TERM_to_all; do  # to all: as a batch system that cancels or preempts a job
  shrink "stopped_$signal" "${ordered[@]}"
  set -m  # a background job of a script ignores INT unless it has a group of its own
  start --ranks 2
  set +m
  wait_for_ledger $pid '"sealed"'
  if [ $signal = TERM_to_all ]; then kill -TERM $(family $pid); else kill -s $signal $pid; fi
  wait $pid
  code=$?
  [ $code -eq 85 ] || { cat "$log.err"; tail -5 "$log"; fail "SIG$signal to the parent ended the job with $code, expected 85"; }
  grep -qE "^resume [^ ]+ [0-9]+ 85 " "$run/status" || fail "SIG$signal: status is '$(cat "$run/status")'"
  expect_nothing_left "SIG$signal to the parent"
  resumes_to_the_same_bytes "stopped by SIG$signal to the parent"
done

# A launcher that loses its parent gives its ranks up to two seconds: a job that is much longer than that.
orphans=("${ordered[@]}" train.tokens=98304)
shrink orphans_whole "${orphans[@]}"
call_must_succeed run --ranks 2
fingerprint >"$work/one.sums"
for victim in parent launcher; do
  shrink "orphans_$victim" "${orphans[@]}"
  start --ranks 2
  wait_for_ledger $pid '"sealed"'
  if [ $victim = parent ]; then kill -9 $pid; else kill -9 "$(pgrep -P $pid)"; fi
  wait $pid 2>/dev/null
  expect_nothing_left "kill -9 of the $victim"
  resumes_to_the_same_bytes "kill -9 of the $victim"
done

# Inside an allocation of eight cores a rank: no rank may be left with one core of those that this machine has.
cores=$(python3 -c 'import os; print(len(os.sched_getaffinity(0)))')
env -u OMP_NUM_THREADS SLURM_NTASKS=2 SLURM_CPUS_PER_TASK=8 "$refract" doctor --ranks 2 >"$work/places" 2>&1 || { cat "$work/places"; fail "doctor --ranks 2"; }
grep -E '^rank [01] ' "$work/places"
[ "$(grep -cE '^rank [01] .*  8 threads$' "$work/places")" -eq 2 ] || fail "the ranks do not have eight threads each"
python3 - "$work/places" "$cores" <<'PY' || fail "a rank of eight threads was bound to fewer cores than there are"
import re, sys
lines = [line for line in open(sys.argv[1]) if re.match(r"rank \d", line)]
assert len(lines) == 2, lines
for line in lines:
    parts = [part.split("-") for part in re.search(r"cores ([\d,-]+)", line).group(1).split(",")]
    assert sum(int(part[-1]) - int(part[0]) + 1 for part in parts) == int(sys.argv[2]), line
PY
passed "inside an allocation each rank may use all $cores cores"
