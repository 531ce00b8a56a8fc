#!/usr/bin/env bash
# kill_a_minute.sh REFRACT SOURCE [SECONDS [SETTING...]]: a measurement, not a test. The demo, enlarged to about ten
# minutes on two quiet cores, is run undisturbed, and once more with a kill -9 each SECONDS (60) and a start at once
# after it, until it is done. Prints both times, on the clock and of the processors (which other work on the machine
# touches less), their ratios, and the load; the bytes of both must be equal. SETTING (key=value) changes the run.
source "$(dirname "$0")/common.sh"
begin "$1" "$2"
between_s=${3:-60}
shift $(($# < 3 ? $# : 3))

prepare() {
  name=$1
  shift
  run=$work/$name/run data=$work/$name/data log=$work/$name.log
  settings=(--set run="$run" --set data_root="$data" --set train.passes_per_chunk=28
    --set store.chunk_rows=32768 --set checkpoint.every_s=5)
  for setting in "$@"; do settings+=(--set "$setting"); done
}
load() { cut -d' ' -f1-3 /proc/loadavg; }
TIMEFORMAT='%R %U %S'

prepare whole "$@"
before=$(load)
read -r whole_s whole_user whole_sys < <({ time "$refract" run "$config" "${settings[@]}" >"$log" 2>&1; } 2>&1)
grep -q '^done' "$run/status" || { tail -5 "$log"; fail "the undisturbed run"; }
echo "undisturbed: $whole_s s on the clock, $whole_user + $whole_sys s of processors (load $before before, $(load) after)"
fingerprint >"$work/whole.sums"

prepare killed "$@"
kills=0
until_done() {
  while true; do
    "$refract" run "$config" "${settings[@]}" >>"$log" 2>&1 &
    local pid=$!
    (sleep "$between_s" && kill -9 $pid 2>/dev/null) &
    local killer=$!
    wait $pid
    local code=$?
    pkill -P $killer 2>/dev/null
    kill $killer 2>/dev/null
    wait $killer 2>/dev/null
    [ $code -ne 0 ] || break
    [ $code -eq 137 ] || { tail -5 "$log"; fail "a start ended with $code"; }
    kills=$((kills + 1))
  done
  echo $kills >"$work/kills"
}
before=$(load)
read -r killed_s killed_user killed_sys < <({ time until_done 2>/dev/null; } 2>&1)
[ -s "$work/kills" ] || { tail -5 "$log"; fail "the run that is killed"; }
echo "killed each $between_s s: $killed_s s on the clock, $killed_user + $killed_sys s of processors," \
  "$(cat "$work/kills") kills (load $before before, $(load) after)"
expect_same_bytes "$work/whole.sums" "with and without kills"
awk -v w="$whole_s" -v k="$killed_s" -v wc="$(echo "$whole_user + $whole_sys" | bc)" -v kc="$(echo "$killed_user + $killed_sys" | bc)" \
  'BEGIN {printf "time to solution: %.3f on the clock, %.3f of the processors\n", k / w, kc / wc}'
