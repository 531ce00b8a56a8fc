#!/usr/bin/env bash
# A run that is stopped, by a signal or by kill -9 at random moments, ends with the bytes of one never stopped.
source "$(dirname "$0")/common.sh"
begin "$@"
seed=${REFRACT_TEST_SEED:-1}
RANDOM=$seed
echo "seed $seed (REFRACT_TEST_SEED)"

shrink whole
started=$(date +%s%N)
call_must_succeed run
whole_ms=$((($(date +%s%N) - started) / 1000000))
fingerprint >"$work/whole.sums"
passed "the run that nobody stops takes $whole_ms ms"

start() {
  "$refract" run "$config" "${settings[@]}" >>"$log" 2>&1 &
  pid=$!
}

shrink twin
call_must_succeed run
expect_same_bytes "$work/whole.sums" "the same configuration run twice"

for signal in TERM USR1; do
  shrink "stopped_$signal"
  start
  wait_for_ledger $pid '"checkpointed"'
  kill -s $signal $pid
  wait $pid
  code=$?
  [ $code -eq 85 ] || { tail -5 "$log"; fail "SIG$signal ended the run with $code, expected 85"; }
  grep -q '^resume' "$run/status" || fail "status is '$(cat "$run/status")', expected resume"
  call_must_succeed run
  expect_same_bytes "$work/whole.sums" "stopped by SIG$signal, started again"
done

shrink killed
kills=0
for _ in 1 2 3 4 5 6; do
  start
  wait_ms=$((whole_ms * (RANDOM % 60 + 2) / 100))
  sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
  if kill -9 $pid 2>/dev/null; then
    kills=$((kills + 1))
    echo "killed after $wait_ms ms"
  fi
  wait $pid 2>/dev/null
  [ ! -e "$run/report.html" ] || break
done
[ $kills -ge 2 ] || fail "only $kills kills reached a running process"
call_must_succeed run
expect_same_bytes "$work/whole.sums" "killed $kills times, started again"
