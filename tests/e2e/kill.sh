#!/usr/bin/env bash
# kill.sh REFRACT SOURCE [KILLS]: kill -9 of a random rank, or of the parent, in random states, and start again until
# the run is done: it ends with the bytes of a run that was never killed.
source "$(dirname "$0")/common.sh"
source "$(dirname "$0")/victims.sh"
begin "$@"
wanted=${3:-20}
seed=${REFRACT_TEST_SEED:-1}
RANDOM=$seed
echo "seed $seed (REFRACT_TEST_SEED)"
export OMP_NUM_THREADS=1

shrink whole train.reduction=ordered
call_must_succeed run --ranks 3
fingerprint >"$work/whole.sums"

start() {
  ranks=$((RANDOM % 3 + 1))  # under `ordered` any number may go on
  "$refract" run "$config" "${settings[@]}" --ranks $ranks >"$log" 2>&1 &
  pid=$!
}

kills=0
round=0
while [ $kills -lt "$wanted" ]; do
  # A new run each time one has reached all states before the kills are used up.
  round=$((round + 1))
  shrink "killed_$round" train.reduction=ordered
  while [ $kills -lt "$wanted" ] && next_state; do
    start
    wait_until $pid "$state"
    random_victim && kill -9 "$victim" || { tail -5 "$log"; fail "no process was left when it was $state"; }
    kills=$((kills + 1))
    echo "kill $kills: process $victim of $ranks rank(s), when it was $state"
    wait $pid 2>/dev/null
    expect_nothing_left
  done
  call_must_succeed run
  expect_same_bytes "$work/whole.sums" "round $round, after $kills kills in all"
done
