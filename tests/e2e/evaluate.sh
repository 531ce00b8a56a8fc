#!/usr/bin/env bash
# What evaluation finds is the same for any number of ranks, with every baseline and several seeds; it is printed for
# people and for programs; other rules give other verdicts of the same numbers; a stop on several ranks ends within the
# work on one SAE and goes on to the same bytes.
source "$(dirname "$0")/common.sh"
begin "$@"

evaluated() {
  shrink "$1" train.tokens=4096 train.passes_per_chunk=1 train.reduction=ordered saes.0.seeds=2 saes.1.variant=batchtopk \
    "evaluate.baselines=[pca, pca_topk, ica, semi_nmf, split_nmf, neurons, random]" evaluate.baseline_rows=1024 \
    evaluate.ce_tokens=2048 "${@:2}"
}
parts=(saes/small-seed1/evaluation.json saes/small-seed2/evaluation.json saes/big/evaluation.json)

evaluated one
call_must_succeed evaluate --json
one=$run
cp "$log" "$work/one.json"
[ "$(wc -l <"$log")" -eq 1 ] || { head -5 "$log"; fail "--json printed $(wc -l <"$log") lines, expected one"; }
for key in '"saes":\[{"schema":"evaluation"' '"seeds":\[{"names":\["small-seed1","small-seed2"\]' '"statistics":\[{"schema"' \
  '"delta_ce"' '"kl_sae"' '"gini_alive"' '"training_mode"' '"split_nmf":{"components":' '"verdicts":\[{'; do
  grep -q "$key" "$log" || fail "--json has no $key"
done
passed "one line of JSON has every part"

call_must_succeed evaluate
for text in 'over 2 seeds' 'what it says' 'dead features' 'predicted tokens of' 'IsoScore' 'as training selects' 'of components'; do
  grep -q "$text" "$log" || { cat "$log"; fail "the printed tables have no '$text'"; }
done
passed "tables for a person, also when nothing was left to do"

evaluated many
for ranks in 1 3; do
  rm -rf "$run"
  call_must_succeed evaluate --ranks $ranks
  for part in "${parts[@]}" statistics/blocks.2.hook_resid_post.json; do
    cmp "$one/$part" "$run/$part" || fail "$part of $ranks ranks has other bytes"
  done
done
passed "the same bytes on one rank and on three"

# Rules of one's own: another range of the reconstruction's length.
sed '/^  - metric: reconstruction_bias$/,/^  - metric:/s/good: {.*}/good: {low: 2, high: 3}/' configs/advice.yaml >"$work/advice.yaml"
state_of_bias() { grep -o '"metric":"reconstruction_bias".\{0,120\}' "$run/saes/big/evaluation.json" | grep -o '"state":"[a-z_]*","side":"[a-z]*","good":"[^"]*"'; }
case $(state_of_bias) in *'"good":"0.95 to 1.05"') ;; *) fail "built-in rules gave $(state_of_bias)" ;; esac
lines=$(grep -c '"evaluate/big"' "$run/ledger.jsonl")
call_must_succeed evaluate --set evaluate.advice="$work/advice.yaml"
[ "$(grep -c '"evaluate/big"' "$run/ledger.jsonl")" -eq $((lines + 1)) ] || fail "other rules did not make the evaluation again"
[ "$(state_of_bias)" = '"state":"watch","side":"below","good":"2 to 3"' ] || fail "the new rule gave $(state_of_bias)"
call_must_succeed evaluate --set evaluate.advice="$work/advice.yaml"
[ "$(grep -c '"evaluate/big"' "$run/ledger.jsonl")" -eq $((lines + 1)) ] || fail "the same rules made the evaluation again"
echo "  - metric: no_such_metric" >>"$work/advice.yaml"
expect_error 2 "advice.yaml:[0-9]*.*no_such_metric" "a rule for an unknown metric is refused with its line" \
  "$refract" evaluate "$config" "${settings[@]}" --set evaluate.advice="$work/advice.yaml"

# A stop while SAEs are evaluated, on two ranks.
evaluated stopped evaluate.ce_tokens=65536 heldout.rows=8192
call_must_succeed evaluate
whole=$run
evaluated again evaluate.ce_tokens=65536 heldout.rows=8192
call train || fail "refract train failed"
"$refract" evaluate "$config" "${settings[@]}" --ranks 2 >"$log" 2>&1 &
pid=$!
wait_for_ledger $pid '"evaluate/small-seed1"'
kill -TERM $pid
wait $pid
code=$?
[ $code -eq 85 ] || { cat "$log"; fail "a stopped evaluation ended with $code, expected 85"; }
[ ! -e "$run/saes/big/evaluation.json" ] || fail "it had ended before it was stopped"
call_must_succeed evaluate --ranks 2
for part in "${parts[@]}"; do
  cmp "$whole/$part" "$run/$part" || fail "$part of a stopped evaluation has other bytes"
done
[ "$(grep -c '"evaluate/small-seed1"' "$run/ledger.jsonl")" -eq 1 ] || fail "what was evaluated before the stop was made again"
passed "stopped on two ranks, it goes on SAE by SAE to the same bytes"
