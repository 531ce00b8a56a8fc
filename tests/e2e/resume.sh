#!/usr/bin/env bash
# A run that is stopped, by a signal or by kill -9 in random states, ends with the bytes of one never stopped.
source "$(dirname "$0")/common.sh"
begin "$@"
seed=${REFRACT_TEST_SEED:-1}
RANDOM=$seed
echo "seed $seed (REFRACT_TEST_SEED)"

shrink whole
call_must_succeed run
fingerprint >"$work/whole.sums"

start() {
  "$refract" run "$config" "${settings[@]}" >>"$log" 2>&1 &
  pid=$!
}

shrink twin
call_must_succeed run
expect_same_bytes "$work/whole.sums" "the same configuration run twice"

for signal in TERM USR1; do
  shrink "stopped_$signal"
  stop_when $signal checkpointed_0
  grep -q '^resume' "$run/status" || fail "status is '$(cat "$run/status")', expected resume"
  call_must_succeed run
  expect_same_bytes "$work/whole.sums" "stopped by SIG$signal, started again"
done

shrink killed
kills=0
while next_state; do
  start
  wait_until $pid "$state"
  kill -9 $pid || { tail -5 "$log"; fail "the run had ended when it was $state"; }
  kills=$((kills + 1))
  echo "kill $kills: when it was $state"
  wait $pid 2>/dev/null
done
[ $kills -ge 5 ] || fail "only $kills kills were planned"
call_must_succeed run
expect_same_bytes "$work/whole.sums" "killed $kills times, started again"

# By its own clock: the allocation has ended before anything could be made.
shrink late
expect_error 85 'stopped ahead of the end of the allocation' "a job without time left takes nothing over" \
  env SLURM_JOB_ID=7 SLURM_JOB_END_TIME=1000000000 "$refract" run "$config" "${settings[@]}"
[ ! -e "$run/status" ] || fail "a start without time wrote the status '$(cat "$run/status")'"

# Twice as long each time, so that it gets there on any machine; on most, in several attempts.
shrink by_the_clock
for seconds in 1 2 4 8 16 32 64 128 256; do
  call run --stop-after ${seconds}s
  code=$?
  [ $code -eq 0 ] && break
  [ $code -eq 85 ] || { tail -5 "$log"; fail "--stop-after ${seconds}s ended with $code, expected 85"; }
  grep -qE '^(resume|stuck) .*(--stop-after|in time: )' "$run/status" || fail "status is '$(cat "$run/status")'"
done
[ $code -eq 0 ] || fail "not done after 256 s"
[ "$seconds" -gt 1 ] || echo "note: all was done within a second"
expect_same_bytes "$work/whole.sums" "stopped by --stop-after up to ${seconds}s, started again"
