#!/usr/bin/env bash
# A ring too small for all chunks: old ones go, only after their checkpoint, and what is learned is the same.
source "$(dirname "$0")/common.sh"
begin "$@"

shrink roomy
call_must_succeed run
evident() { fingerprint | grep -E ' \./saes/| \./features/|evidence.h5'; }
evident >"$work/roomy.sums"
[ -e "$(echo "$run"/*_activations/chunk-000000.h5)" ] || fail "the quota of the demo evicts a chunk"

shrink tight store.mode=ring disk.max_bytes=70MiB
call_must_succeed run
grep -q '"evicted"' "$run/ledger.jsonl" || fail "nothing was evicted"
[ ! -e "$(echo "$run"/*_activations/)chunk-000000.h5" ] || fail "the evicted chunk is still there"
passed "the first chunk was evicted"

# A chunk goes only after the checkpoint that includes it.
awk '/"event":"checkpointed"/ && /"visit":0,/ {sealed = NR} /"event":"evicted"/ && /"chunk":0}/ {gone = NR}
     END {exit !(sealed && gone > sealed)}' "$run/ledger.jsonl" || fail "a chunk was evicted before its checkpoint"
passed "eviction follows the checkpoint"

evident >"$work/tight.sums"
diff "$work/roomy.sums" "$work/tight.sums" || fail "a small ring changes what is learned"
passed "the same SAEs and the same features as with room for all"
grep -q '"chunk":0,.*"evicted":true' "$run"/*_activations/chunks.jsonl || fail "chunks.jsonl does not list the evicted chunk"

"$refract" describe --verify "$run" >"$log" 2>&1 || { cat "$log"; fail "describe --verify misses an evicted chunk"; }
passed "describe --verify knows what was evicted"

used=$(du -sb "$work/tight" | cut -f1)
[ "$used" -le $((70 * 1024 * 1024)) ] || fail "$used bytes on disk exceed the quota"
passed "$used bytes on disk at the end"
