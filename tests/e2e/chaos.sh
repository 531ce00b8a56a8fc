#!/usr/bin/env bash
# chaos.sh REFRACT SOURCE [ROUNDS [FIRST]]: each round draws options and runs them once undisturbed; then again, where
# after random states a random process gets SIGKILL, or a random rank SIGSTOP, which its watchdog must end; each start
# has another number of ranks and another layout. The end has the bytes of the undisturbed run. Round N of a seed is
# the same whatever comes before it: `chaos.sh ... 1 N` repeats it alone.
source "$(dirname "$0")/common.sh"
source "$(dirname "$0")/victims.sh"
begin "$1" "$2"
rounds=${3:-20}
first=${4:-1}
seed=${REFRACT_TEST_SEED:-1}
echo "seed $seed (REFRACT_TEST_SEED), rounds $first to $((first + rounds - 1))"
export OMP_NUM_THREADS=1
export OMPI_MCA_odls_base_sigkill_timeout=0  # mpirun waits 1 s for ranks that it ends

# option NAME VALUE...: adds NAME with one of the values to `options`. Not in a subshell, which draws by another seed.
option() {
  options+=("$1=${*:RANDOM % ($# - 1) + 2:1}")
}
mapfile -t variants < <(sed -n 's/^ *{"\([a-z]*\)", make_.*/\1/p' src/sae/variant_table.cpp)
for variant in "${variants[@]}"; do
  case $variant in *topk | matryoshka | relu | jumprelu | gated) ;; *) fail "chaos.sh does not know the variant $variant" ;; esac
done

# Sets `options`: what a round keeps through all its starts.
draw_options() {
  options=()
  option saes.0.variant "${variants[@]}"
  case ${options[0]} in *topk | *matryoshka) options+=(saes.0.k=4) ;; *) options+=(saes.0.k=0) ;; esac
  option rows.take all all all last '{nth_last: 3}' middle '{random: 4}'
  # Most rules give a row for each context.
  case ${options[2]} in *all) options+=(tokens.context=256 train.tokens=6144) ;; *) options+=(tokens.context=32 train.tokens=3072) ;; esac
  option tokens.packing packed concat document
  option train.passes_per_chunk 1 2 32
  option train.exchange auto all_reduce sharded
  option disk.max_bytes 2GiB 2GiB 60MiB
  option checkpoint.keep all spread 2 'every 2'
  option checkpoint.every_s 1 900
  option store.dtype bf16 fp32
  option saes.0.normalize sqrt_d whiten layer_norm
  case ${options[0]} in
    *jumprelu) options+=('saes.0.penalty={kind: l0, coefficient: 5, target: 4}') ;;
    *gated) options+=('saes.0.penalty={kind: l1, coefficient: 2}') ;;
  esac
}
fixed=(train.reduction=ordered heldout.rows=1024 calibration.rows=1024 calibration.max_tokens=4096
  store.chunk_rows=1024 train.batch_rows=256 saes.0.d_sae=64 saes.1.d_sae=96 saes.1.k=4
  probe.tokens=2048 probe.examples=3 evaluate.ce_tokens=512)

# start WATCHDOG_S: on any number of ranks and in any layout, as `ordered` allows.
start() {
  ranks=$((RANDOM % 3 + 1))
  layout=fused
  [ $ranks -eq 1 ] || [ $((RANDOM % 2)) = 0 ] || layout=split
  "$refract" run "$config" "${settings[@]}" --ranks $ranks --set pipeline.layout=$layout \
    --set pipeline.watchdog_s="$1" >"$log" 2>&1 &
  pid=$!
}

# true: the state was reached; false: the start ended before.
wait_until_or_end() {
  until reached "$2"; do
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.01
  done
}

kill_one() {
  random_victim && kill -9 "$victim" 2>/dev/null || return 1
  wait $pid 2>/dev/null
  return 0
}

# The others end the job and say so in one line. One that has nothing more to ask of the rank that stands still ends
# all the same: then the rank is let go on.
stop_one() {
  random_rank && kill -STOP "$victim" 2>/dev/null || return 1
  while kill -0 $pid 2>/dev/null && ! grep -qs '^done' "$run/status"; do sleep 0.1; done
  grep -qs '^done' "$run/status" && kill -CONT "$victim" 2>/dev/null
  wait $pid
  local code=$?
  [ $code -eq 0 ] && return
  [ $code -eq 4 ] || { tail "$log"; fail "a job with a rank that stands still ended with $code, expected 4"; }
  [ "$(grep -c '^refract\[' "$log")" -eq 1 ] || { cat "$log"; fail "not one line about the rank that stands still"; }
  grep -q 'start the same command again' "$log" || { cat "$log"; fail "the line does not say what to do"; }
  stops=$((stops + 1))
}

kills=0
stops=0
for ((round = first; round < first + rounds; ++round)); do
  RANDOM=$(cksum <<<"$seed $round" | cut -d' ' -f1)  # neighbouring seeds draw alike
  draw_options
  echo "round $round: ${options[*]}"
  shrink "whole_$round" "${fixed[@]}" "${options[@]}"
  call_must_succeed run
  fingerprint >"$work/whole.sums"
  shrink "round_$round" "${fixed[@]}" "${options[@]}"
  wanted=$((RANDOM % 3 + 1))
  for ((fault = 0; fault < wanted; ++fault)); do
    next_state || break
    how=kill
    [ $((RANDOM % 4)) = 0 ] && how=stop
    start "$([ $how = stop ] && echo 3 || echo 600)"
    [ $ranks -gt 1 ] || how=kill
    if wait_until_or_end $pid "$state" && ${how}_one; then
      echo "  $how: process $victim of $ranks rank(s), $layout, when it was $state"
      [ $how = stop ] || kills=$((kills + 1))
    else
      wait $pid
      code=$?
      # A watchdog of seconds may end a healthy job on a machine that is too busy to run it.
      [ $code -eq 0 ] || { [ $code -eq 4 ] && grep -q 'start the same command again' "$log"; } ||
        { tail "$log"; fail "a start ended with $code before it was $state"; }
      echo "  ended with $code before it was $state"
    fi
    expect_nothing_left
  done
  start 600
  wait $pid || { tail "$log"; fail "the last start of round $round"; }
  expect_same_bytes "$work/whole.sums" "round $round"
  rm -rf "$work/whole_$round" "$work/round_$round"
done
passed "$kills kills and $stops halted ranks in $rounds rounds"
[ $((kills + stops)) -ge $((rounds / 2)) ] || fail "too few faults to prove anything"
