#!/usr/bin/env bash
# Checkpoints: what stays of old ones by checkpoint.keep, those within a chunk by checkpoint.every_s, and a resume of
# every variant. A run with six chunks.
source "$(dirname "$0")/common.sh"
begin "$@"

six() { shrink "$@" store.chunk_rows=2048; }

# holds FILE: of the six checkpoints of an SAE, those whose folder has the file.
holds() { (cd "$run/saes/small/checkpoints" && ls -d chunk-*/"$1" 2>/dev/null | sed 's/^chunk-00000\([0-9]\).*/\1/' | xargs echo); }

expect_files() {
  [ "$(holds sae_weights.safetensors)" = "$2" ] || fail "$1: SAELens files in $(holds sae_weights.safetensors), expected in $2"
  [ "$(holds SHA256SUMS)" = "$2" ] || fail "$1: SHA256SUMS in $(holds SHA256SUMS), expected in $2"
  [ "$(holds trainer_state.safetensors)" = "4 5" ] || fail "$1: trainer states in $(holds trainer_state.safetensors), expected 4 5"
  [ "$(holds state.json)" = "0 1 2 3 4 5" ] || fail "$1: state.json in $(holds state.json), expected in all"
  passed "$1: SAELens files of checkpoints $2, two trainer states, every state.json"
}

six whole
call_must_succeed run
fingerprint >"$work/whole.sums"
expect_files "keep: all" "0 1 2 3 4 5"
(cd "$run/saes/small/checkpoints/chunk-000003" && sha256sum --quiet -c SHA256SUMS) || fail "SHA256SUMS is not of its files"
passed "sha256sum -c reads SHA256SUMS"
(cd "$run/saes/small" && python3 - <<'PY') || fail "metrics_digest is not that of metrics.jsonl"
import hashlib, json
log = open("metrics.jsonl", "rb").read()
for visit in range(6):
    values = json.load(open(f"checkpoints/chunk-{visit:06}/state.json"))["values"]
    assert hashlib.sha256(log[:values["metrics_bytes"]]).hexdigest() == values["metrics_digest"], visit
assert values["metrics_bytes"] == len(log)
PY
passed "every state.json says how long metrics.jsonl was, and its digest"

six spread checkpoint.keep=spread
call_must_succeed run
expect_files "keep: spread of a short run" "0 1 2 3 4 5"
six last checkpoint.keep=3
call_must_succeed run
expect_files "keep: 3" "3 4 5"
six every "checkpoint.keep=every 2"
call_must_succeed run
expect_files "keep: every 2" "1 3 5"

# Another rule from the next start on: what it does not keep goes, also of checkpoints long past.
six changed
stop_when USR1 checkpointed_2
settings+=(--set checkpoint.keep=2)
call_must_succeed run
expect_files "keep: all, then 2" "4 5"

# Within a chunk, after checkpoint.every_s; each such checkpoint goes when there is a newer one. The run is halted for
# longer than that again and again, until a chunk in training was hit, so that the machine's speed decides nothing.
long_chunks() { shrink "$1" train.passes_per_chunk=24 checkpoint.every_s="$2"; }
no_steps() { ! compgen -G "$run/saes/*/checkpoints/*.step-*" >/dev/null; }
start_and_halt() {
  "$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
  pid=$!
  wait_until $pid sealed_0
  until grep -qs '"complete":false' "$run/ledger.jsonl"; do
    kill -STOP $pid 2>/dev/null || { tail -5 "$log"; fail "the run ended without a checkpoint within a chunk"; }
    sleep 1.2
    kill -CONT $pid
    sleep 0.1
  done
}
long_chunks undisturbed 900
call_must_succeed run
fingerprint >"$work/long.sums"
! grep -q '"complete":false' "$run/ledger.jsonl" || fail "a checkpoint within a chunk after less than 900 s"
long_chunks often 1
start_and_halt
wait $pid || { tail -5 "$log"; fail "a run with checkpoints within chunks failed"; }
no_steps || fail "a checkpoint within a chunk stayed: $(ls "$run/saes/small/checkpoints")"
expect_same_bytes "$work/long.sums" "with $(grep -c '"complete":false' "$run/ledger.jsonl") lines of checkpoints within chunks, all gone"
long_chunks often_killed 1
start_and_halt
kill -9 $pid || fail "the run had ended"
wait $pid 2>/dev/null
call_must_succeed run
no_steps || fail "a checkpoint within a chunk stayed after a kill"
expect_same_bytes "$work/long.sums" "killed after a checkpoint within a chunk, started again"

# The newest checkpoint cannot be read: the ledger says so, and it is trained again to the same bytes.
six withdrawn
stop_when USR1 checkpointed_3
flip "$(ls -d "$run"/saes/big/checkpoints/chunk-* | tail -1)/trainer_state.safetensors" 4000
call_must_succeed run
[ "$(grep -c '"event":"withdrawn".*trainer_state' "$run/ledger.jsonl")" -eq 1 ] ||
  fail "the ledger does not say that one checkpoint was withdrawn"
expect_same_bytes "$work/whole.sums" "a checkpoint that was withdrawn is made again"

# Every variant, stopped within a chunk and killed after a checkpoint.
config=$work/variants.yaml
python3 - <<'PY' >"$config"
import re
text = open("configs/demo.yaml").read()
saes = [f"  - {{name: {v}, hook: blocks.2.hook_resid_post, variant: {v}, d_sae: 256, {own}, seed: 1}}\n"
        for v, own in (("topk", "k: 8"), ("abstopk", "k: 8, penalty: {kind: tanh, coefficient: 1}, k_start: 40, k_decay: 0.8"),
                       ("batchtopk", "k: 8"), ("matryoshka", "k: 8, decoder_norm: free"),
                       ("relu", "penalty: {kind: kl, coefficient: 1, target: 0.05}, b_dec: mean, ema: 0.9"),
                       ("jumprelu", "penalty: {kind: l0, coefficient: 5, target: 8, warmup_steps: 9}"),
                       ("gated", "penalty: {kind: l1, coefficient: 5}, b_dec: zero, resample: {every_steps: 5, until: 1}"))]
print(re.sub(r"(?m)^(saes:.*\n)(  - .*\n)+", lambda m: m[1] + "".join(saes), text), end="")
PY
for variant in $(sed -n 's/^ *{"\([a-z]*\)", make_.*/\1/p' src/sae/variant_table.cpp); do
  grep -q "variant: $variant" "$config" || fail "no SAE of the test is of variant $variant"
done
of_variants() {
  six "$1"
  local kept=() i
  for ((i = 0; i < ${#settings[@]}; i += 2)); do
    [[ ${settings[i + 1]} == saes.* ]] || kept+=("${settings[i]}" "${settings[i + 1]}")
  done
  settings=("${kept[@]}")
}
of_variants variants
call_must_succeed train
fingerprint | grep ' ./saes/' >"$work/variants.sums"
grep -q '"resampled":[1-9]' "$run/saes/gated/metrics.jsonl" || fail "no feature was resampled"
for what in stopped killed; do
  of_variants "variants_$what"
  "$refract" train "$config" "${settings[@]}" >"$log" 2>&1 &
  pid=$!
  wait_until $pid checkpointed_2
  if [ $what = stopped ]; then kill -USR1 $pid; else kill -9 $pid; fi
  wait $pid 2>/dev/null
  call_must_succeed train
  fingerprint | grep ' ./saes/' >"$work/now.sums"
  diff "$work/variants.sums" "$work/now.sums" || fail "$what, started again: files differ"
  passed "every variant, $what and started again: $(wc -l <"$work/now.sums") files have equal bytes"
done
