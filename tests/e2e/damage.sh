#!/usr/bin/env bash
# A flipped byte anywhere is noticed by who uses the data. What can be made again is, to the same bytes as in a run
# that was never harmed; what cannot is refused by name.
source "$(dirname "$0")/common.sh"
begin "$@"
rows_of=$3

shrink whole
call_must_succeed run
fingerprint >"$work/whole.sums"
cp -r "$work/whole" "$work/kept"

# again WHAT PATTERN: the run as it was before training, with one thing damaged, goes on; the warning names it.
again() {
  call run || { tail -3 "$log"; fail "$1: the run ended with an error"; }
  grep -qE "warning: .*$2.*again" "$log" || { cat "$log"; fail "$1: not a word of '$2'"; }
  expect_same_bytes "$work/whole.sums" "$1 is made again"
}

# extracted NAME: a store whose chunks are extracted, nothing trained.
shrink extracted
call_must_succeed extract
extracted() {
  rm -rf "${work:?}/$1"
  cp -r "$work/extracted" "$work/$1"
  shrink "$1"
  store=$(echo "$run"/*_activations)
}
for file in chunk-000001 heldout evidence calibration; do
  extracted "$file"
  flip "$store/$file.h5" 5000
  again "$file.h5 with a flipped byte" "$file.h5"
done
extracted identity
"$rows_of" "$store/chunk-000002.h5" flip 7 || fail "no flag was changed"
again "a changed flag of excluded rows" chunk-000002.h5
extracted missing
rm "$store/chunk-000001.h5"
again "a chunk that is gone" chunk-000001.h5
for kind in tokens contexts; do
  extracted "$kind"
  if [ $kind = tokens ]; then file=$(ls "$data"/tokens/*/*.h5); else file=$(ls "$data"/tokens/*/contexts-*/[!w]*.h5); fi
  flip "$file" 3000
  again "a $kind file with a flipped byte" "$(basename "$file")"
done

# A trained run, stopped: its newest checkpoint is damaged in one place after the other.
stopped() {
  rm -rf "${work:?}/$1"
  cp -r "$work/halfway" "$work/$1"
  shrink "$1"
  newest=$(ls -d "$run"/saes/small/checkpoints/chunk-* | tail -1)
}
shrink halfway
stop_when USR1 checkpointed_1
for what in trainer_state.safetensors state.json; do
  stopped "$what"
  flip "$newest/$what" 100
  call_must_succeed run
  grep -qE "warning: checkpoint .*$what.*going back" "$log" || { cat "$log"; fail "not a word of $what"; }
  expect_same_bytes "$work/whole.sums" "a checkpoint with a damaged $what is gone back from"
done
stopped all
for state in "$run"/saes/small/checkpoints/*/trainer_state.safetensors; do flip "$state"; done
call_must_succeed run
expect_same_bytes "$work/whole.sums" "with every state damaged it begins anew"
for how in emptied removed; do
  stopped "metrics_$how"
  if [ $how = emptied ]; then : >"$run/saes/big/metrics.jsonl"; else rm "$run/saes/big/metrics.jsonl"; fi
  call_must_succeed run
  grep -q "warning: .*metrics.jsonl lacked lines" "$log" || fail "metrics.jsonl was $how and not a word"
  expect_same_bytes "$work/whole.sums" "metrics.jsonl, $how, is written again"
done

# A finished run: what is missing is made again.
for what in saes/small/latest features/small.h5 saes/big/evaluation.json report.html saes/small/metrics.jsonl \
  '*_activations/evidence.h5'; do
  rm -rf "${work:?}/finished"
  cp -r "$work/kept" "$work/finished"
  shrink finished
  rm -r $run/$what
  call_must_succeed run
  [ -e "$(echo $run/$what)" ] || fail "$what of a finished run is gone and was not made again"
  expect_same_bytes "$work/whole.sums" "$what of a finished run is made again"
done

# And what is there but not what was written, or was written for another run.
other() {
  rm -rf "${work:?}/finished"
  cp -r "$work/kept" "$work/finished"
  shrink finished
}
shrink foreign saes.0.seed=7 saes.1.seed=7 store.seed=2
call_must_succeed run
for what in saes/small/latest/sae_weights.safetensors saes/small/latest/cfg.json '*_activations/evidence.h5' \
  '*_activations/heldout.h5' '*_activations/calibration.h5' features/small.h5 saes/big/evaluation.json \
  saes/small/checkpoints/chunk-000002/sae_weights.safetensors; do
  for how in flipped foreign; do
    other
    [ "$what" != saes/small/checkpoints/chunk-000002/sae_weights.safetensors ] || rm "$run/report.html"
    if [ $how = flipped ]; then flip $run/$what 1000; else cp $work/foreign/run/$what $run/$what; fi
    call_must_succeed run
    expect_same_bytes "$work/whole.sums" "$what of a finished run, $how, is made again"
  done
done

# State that belongs to another run is not believed.
stopped foreign_state
cp "$work/foreign/run/saes/small/checkpoints/chunk-000001/state.json" "$newest/state.json"
call_must_succeed run
expect_same_bytes "$work/whole.sums" "a foreign state.json is gone back from"
stopped foreign_old_state
cp "$work/foreign/run/saes/small/checkpoints/chunk-000000/state.json" "$run/saes/small/checkpoints/chunk-000000/state.json"
call_must_succeed run
cmp -s "$run/saes/small/metrics.jsonl" "$work/kept/run/saes/small/metrics.jsonl" || fail "metrics.jsonl took a foreign line"
passed "a foreign state.json of an old checkpoint changes no curve"

# The ledger is the one thing that nobody can make again.
shrink ledger
cp -r "$work/kept" "$work/ledger"
sed -i '5s/.*/{"event":"sea/' "$run/ledger.jsonl"
expect_error 3 'ledger.jsonl:5: not a ledger line' "a damaged ledger is refused, and the line named" \
  "$refract" run "$config" "${settings[@]}"
sed -i '5,$d' "$run/ledger.jsonl"
call_must_succeed run
expect_same_bytes "$work/whole.sums" "cut before that line, as it says, the run goes on"
