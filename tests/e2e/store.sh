#!/usr/bin/env bash
# store.mode keep over two passes of the corpus, stopped in each; a chunk that is lost is made again where it is still
# needed, and only there.
source "$(dirname "$0")/common.sh"
begin "$@"

shrink whole store.mode=keep train.corpus_passes=2
call_must_succeed run
fingerprint >"$work/whole.sums"
[ "$(grep -c '"event":"checkpointed".*"complete":true' "$run/ledger.jsonl")" -eq 12 ] ||
  fail "two SAEs and two passes over three chunks are not twelve checkpoints"
grep -q '"evicted"' "$run/ledger.jsonl" && fail "keep evicted a chunk"
[ "$(grep -c '"sealed"' "$run/ledger.jsonl")" -eq 3 ] || fail "the second pass made chunks again"
passed "two passes over the corpus with chunks made once"

shrink once store.mode=keep
call_must_succeed run
cmp -s "$run/saes/small/latest/sae_weights.safetensors" "$work/whole/run/saes/small/latest/sae_weights.safetensors" &&
  fail "the second pass learned nothing"

shrink stopped store.mode=keep train.corpus_passes=2
stop_when USR1 checkpointed_1
stop_when TERM checkpointed_3
lost=$(echo "$run"/*_activations)/chunk-000002.h5
rm "$lost"
call_must_succeed run
grep -q 'warning: .*chunk-000002.h5.*again' "$log" || { cat "$log"; fail "not a word of the lost chunk"; }
expect_same_bytes "$work/whole.sums" "stopped in each pass, with a chunk lost that is still needed"
rm -r "$work/stopped" "$work/once"

# In a ring a chunk is needed until its checkpoint.
shrink ring
call_must_succeed run
fingerprint | grep -v chunk-000000.h5 >"$work/ring.sums"
shrink lost
stop_when USR1 checkpointed_0
rm "$run"/*_activations/chunk-000000.h5
call_must_succeed run
[ "$(grep -c '"sealed","chunk":0,' "$run/ledger.jsonl")" -eq 1 ] || fail "a chunk that nobody needs was made again"
[ -z "$(find "$run" -name 'chunk-000000.h5*')" ] || fail "the chunk that was lost is back"
fingerprint | diff "$work/ring.sums" - || fail "a lost chunk that nobody needs changes what is learned"
passed "a lost chunk that nobody needs is not made again, and changes nothing"
