#!/usr/bin/env bash
# One command from shards to the report; the artifacts of the design stand where it says; once more does nothing.
source "$(dirname "$0")/common.sh"
begin "$@"

shrink whole
call_must_succeed run
passed "run ends with 0"

store=$(echo "$run"/*_activations)
for artifact in "$run"/{run.yaml,status,ledger.jsonl,report.html} \
  "$store"/{manifest.yaml,calibration.h5,heldout.h5,chunk-000000.h5,chunk-000001.h5,chunk-000002.h5} \
  "$run"/saes/{small,big}/checkpoints/chunk-00000{0,1,2}/{cfg.json,sae_weights.safetensors,state.json} \
  "$run"/saes/{small,big}/checkpoints/chunk-00000{1,2}/trainer_state.safetensors \
  "$run"/saes/{small,big}/latest/{cfg.json,sae_weights.safetensors} \
  "$run"/saes/{small,big}/{metrics,timing}.jsonl "$run"/features/{small,big}.h5; do
  [ -s "$artifact" ] || fail "no artifact ${artifact#"$work"/}"
done
[ -n "$(find "$data/tokens" -name '*.h5' -path '*contexts-*')" ] || fail "no context table"
[ -z "$(find "$run" "$data" -name '*.part' -o -name '*.tmp*')" ] || fail "a temporary file is left"
grep -q '^done' "$run/status" || fail "status is '$(cat "$run/status")', expected done"
passed "every artifact exists, nothing temporary is left"

for field in r2 mse l0 density dead; do
  grep -qi "\"[a-z_]*$field[a-z_]*\"" "$run/saes/small/metrics.jsonl" || fail "metrics.jsonl has no $field"
done
[ "$(wc -l <"$run/saes/small/metrics.jsonl")" -ge 3 ] || fail "metrics.jsonl has no line for each chunk"
passed "metrics.jsonl holds the curves"

grep -q '<html' "$run/report.html" || fail "report.html is no page"
if grep -oE '(src|href)="https?://[^"]*"' "$run/report.html" | grep -E '^src|\.css"'; then
  fail "report.html fetches something"
fi
passed "the report is one page that fetches nothing"

snapshot() { find "$work/whole" -type f ! -name run.lock -printf '%p %T@ %s\n' | sort; }
snapshot >"$work/before"
call_must_succeed run
snapshot >"$work/after"
diff "$work/before" "$work/after" || fail "a second run touched files"
passed "a second run does nothing: $(tail -1 "$log")"

expect_error 2 'data_seed' "a finished run of other settings is refused, and the setting is named" \
  "$refract" run "$config" "${settings[@]}" --set train.data_seed=2
