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
