#!/usr/bin/env bash
# kill.sh REFRACT SOURCE [KILLS]: kill -9 of a random rank, or of the parent, at random moments, and start again until
# the run is done: it ends with the bytes of a run that was never killed.
source "$(dirname "$0")/common.sh"
begin "$@"
wanted=${3:-20}
seed=${REFRACT_TEST_SEED:-1}
RANDOM=$seed
echo "seed $seed (REFRACT_TEST_SEED)"
export OMP_NUM_THREADS=1

shrink whole train.reduction=ordered
started=$(date +%s%N)
call_must_succeed run --ranks 3
whole_ms=$((($(date +%s%N) - started) / 1000000))
fingerprint >"$work/whole.sums"
passed "3 ranks that nobody kills take $whole_ms ms"

start() {
  ranks=$((RANDOM % 3 + 1))  # under `ordered` any number may go on
  "$refract" run "$config" "${settings[@]}" --ranks $ranks >"$log" 2>&1 &
  pid=$!
}

# The processes of this run: a rank has its folder's name on its command line, and so has the parent.
random_victim() {
  local all
  mapfile -t all < <(pgrep -f -- "--set run=$run( |\$)")
  [ ${#all[@]} -gt 0 ] && echo "${all[$((RANDOM % ${#all[@]}))]}"
}

kills=0
round=0
while [ $kills -lt "$wanted" ]; do
  # A new run each time one gets done before the kills are used up.
  round=$((round + 1))
  shrink "killed_$round" train.reduction=ordered
  for _ in $(seq 40); do
    start
    [ $kills -lt "$wanted" ] || { wait $pid; break; }
    wait_ms=$((whole_ms * (RANDOM % 90 + 2) / 100))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    victim=$(random_victim)
    if [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null; then
      kills=$((kills + 1))
      echo "kill $kills: process $victim of $ranks rank(s), after $wait_ms ms"
    fi
    wait $pid 2>/dev/null
    for _ in $(seq 50); do  # the ranks of a killed parent end within seconds
      [ -n "$(random_victim)" ] || break
      sleep 0.1
    done
    [ -z "$(random_victim)" ] || fail "processes are left: $(pgrep -fa -- "--set run=$run( |\$)")"
    [ "$(cut -d' ' -f1 "$run/status" 2>/dev/null)" != done ] || break
  done
  call_must_succeed run
  expect_same_bytes "$work/whole.sums" "round $round, after $kills kills in all"
done
