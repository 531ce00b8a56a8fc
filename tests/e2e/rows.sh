#!/usr/bin/env bash
# Every rule for which tokens become rows, with two hooks and an SAE on each: the stored rows are the ones that the rule
# names, and they stay so in reports and after a restart. Then a transcoder between them, beside an SAE.
source "$(dirname "$0")/common.sh"
begin "$@"
rows_of=$3

low=blocks.1.ln2.hook_normalized high=blocks.4.hook_mlp_out

# small NAME RULE HELDOUT_ROWS: two hooks, an SAE on each, two chunks.
small() {
  shrink "$1" hooks="[$low, $high]" saes.0.hook=$low saes.1.hook=$high rows.take="$2" heldout.rows="$3" \
    calibration.rows=256 store.chunk_rows=128 store.block_rows=16 train.tokens=192 train.batch_rows=32 \
    probe.tokens=192 saes.0.d_sae=64 saes.1.d_sae=128 saes.1.k=8 evaluate.ce_tokens=256
}
rule() {
  small "$@"
  call_must_succeed run
  fingerprint >"$work/$1.sums"
  call_must_succeed probe --verify
  grep -qE 'verified: [1-9][0-9]* row identities' "$log" || { cat "$log"; fail "$2: nothing was verified"; }
  for hook in $low $high; do grep -q "$hook" "$run"/*_activations/manifest.yaml || fail "$2: no hook $hook"; done
  passed "rows.take $2: $(tail -1 "$log")"
}
rule all all 2048  # at least one held-out document has to fit
rule last last 32
rule nth_last '{nth_last: 2}' 32
rule middle middle 32
rule random '{random: 2}' 32

# What a rule takes, from the rows' own identity: how many of a document's segment in a context, and which.
# most_taken RULE: sets `most`, the rows taken of one segment.
most_taken() {
  local chunk
  for chunk in "$work/$1"/run/*_activations/chunk-*.h5; do "$rows_of" "$chunk"; done >"$work/$1.rows"
  [ "$(grep -c '^hooks 2$' "$work/$1.rows")" -eq 2 ] || fail "$1: $(grep hooks "$work/$1.rows"), expected two that differ in each of two chunks"
  [ "$(grep -vc hooks "$work/$1.rows")" -eq 192 ] || fail "$1: $(grep -vc hooks "$work/$1.rows") rows, expected 192"
  most=$(grep -v hooks "$work/$1.rows" | sort | uniq -c | sort -n | awk 'END {print $1}')
  echo "rows.take $1: at most $most of a segment"
}
for rule in last nth_last middle; do
  most_taken $rule
  [ "$most" -eq 1 ] || fail "rows.take $rule took $most rows of a segment, expected 1"
done
most_taken random
[ "$most" -eq 2 ] || fail "rows.take random took $most rows of a segment, expected 2"
most_taken all
[ "$most" -gt 2 ] || fail "rows.take all took at most $most rows of a segment"
passed "a rule takes as many rows of a segment as it names"

digest_of() { grep 'chunk-000000.h5' "$work/$1.sums" | cut -d' ' -f1; }
[ "$(for r in all last nth_last middle random; do digest_of $r; done | sort -u | wc -l)" -eq 5 ] || fail "two rules store the same"
passed "no two rules store the same rows"

# Stopped in the middle, with a rule that draws.
cp "$work/random.sums" "$work/whole.sums"
rm -r "$work/random"
small random '{random: 2}' 32
stop_when USR1 blocks_0_1
call_must_succeed run
expect_same_bytes "$work/whole.sums" "random rows of two hooks, stopped and resumed"

# A transcoder beside an SAE of what it reads: trained, evaluated, probed and reported as that is; stopped and resumed.
mlp=blocks.1.hook_mlp_out
transcoder() {
  shrink "$1" hooks="[$low, $mlp]" saes.*.hook=$low saes.1.target_hook=$mlp saes.1.variant=relu saes.1.k=0 \
    saes.1.penalty.coefficient=0.1 saes.1.optimizer.lr=0.004 evaluate.ce_tokens=512 train.reduction=ordered
}
transcoder translated
call_must_succeed run
fingerprint >"$work/translated.sums"
python3 - "$run" $low $mlp <<'PY' || fail "the transcoder's files do not say what it is"
import glob, json, sys
run, low, mlp = sys.argv[1:]
folders = glob.glob(f"{run}/saes/big/checkpoints/*/cfg.json") + [f"{run}/saes/big/latest/cfg.json"]
assert len(folders) > 1, folders
for path in folders:
    config = json.load(open(path))
    assert config["architecture"] == "transcoder" and config["apply_b_dec_to_input"] is False, config
    assert config["d_out"] == config["d_in"], config
    assert (config["metadata"]["hook_name"], config["metadata"]["hook_name_out"]) == (low, mlp), config
sae = json.load(open(f"{run}/saes/small/latest/cfg.json"))
assert sae["architecture"] == "topk" and "hook_name_out" not in sae["metadata"], sae
evaluation = json.load(open(f"{run}/saes/big/evaluation.json"))
assert (evaluation["hook"], evaluation["target_hook"]) == (low, mlp), evaluation
assert evaluation["baselines"] == {}, evaluation["baselines"]
assert json.load(open(f"{run}/saes/small/evaluation.json"))["baselines"], "the SAE has baselines"
print("transcoder: R2", evaluation["inference"]["r2"], "L0", evaluation["inference"]["l0"],
      "CE recovered", evaluation["spliced_loss"]["ce_recovered_mean"])
lines = [json.loads(line) for line in open(f"{run}/saes/big/metrics.jsonl")]
assert [line["heldout_rows"] > 0 for line in lines] == [True] * 3, lines
assert lines[0]["r2"] < lines[-1]["r2"] == evaluation["inference"]["r2"] > 0.1, [line["r2"] for line in lines]
PY
passed "a transcoder's exports, evaluation and metrics name what it reads and what it reconstructs"
cp "$run/saes/big/evaluation.json" "$work/evaluation.json"
rm "$run/saes/big/evaluation.json"
call_must_succeed evaluate --ranks 2
cmp "$work/evaluation.json" "$run/saes/big/evaluation.json" || fail "two ranks find other numbers of a transcoder"
grep -q "$low to the 256 dimensions of $mlp" "$log" && grep -q 'a transcoder has none' "$log" ||
  { cat "$log"; fail "the evaluation does not say what the transcoder is"; }
call_must_succeed probe --sae big --feature 1
grep -q "$mlp" "$run/report.html" || fail "the report does not name what the transcoder reconstructs"
passed "the transcoder is evaluated, probed and reported"
expect_error 2 "target_hook is '$low', which the model reaches before '$mlp'" "a target before the input is refused" \
  "$refract" run "$config" "${settings[@]}" --set saes.1.hook=$mlp --set saes.1.target_hook=$low
transcoder translated_twice
stop_when USR1 checkpointed_0
call_must_succeed run
expect_same_bytes "$work/translated.sums" "a transcoder, stopped and resumed"
