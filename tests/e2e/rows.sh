#!/usr/bin/env bash
# Every rule for which tokens become rows, with two hooks and an SAE on each: the stored rows are the ones that the rule
# names, and they stay so in reports and after a restart.
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
