#!/usr/bin/env bash
# A ring too small for all chunks: old ones go, only after their checkpoint, and what is learned is the same.
source "$(dirname "$0")/common.sh"
begin "$@"

shrink roomy
call_must_succeed run
evident() { fingerprint | grep -E ' \./saes/| \./features/|evidence.h5'; }
evident >"$work/roomy.sums"
[ -e "$(echo "$run"/*_activations/chunk-000000.h5)" ] || fail "the quota of the demo evicts a chunk"

# What lies on disk in each state of the run, looked at while the run stands still. `peak` keeps the most of each class
# of the plan.
shrink tight store.mode=ring disk.max_bytes=70MiB
declare -A peak
most() { [ "${peak[$1]:-0}" -ge "$2" ] || peak[$1]=$2; }
bytes_of() { find "$@" -type f -printf '%s\n' | awk '{sum += $1} END {printf "%d", sum}'; }
stands_still() { [[ $(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null) == [TZ] ]]; }
look() {
  kill -STOP "$1" || fail "the run ended before it could be looked at"
  until stands_still "$1"; do sleep 0.01; done
  local store
  store=$(echo "$run"/*_activations)
  most sum "$(bytes_of "$work/tight")"
  most "activation chunks" "$(bytes_of "$store" -name 'chunk-*.h5*')"
  most chunks "$(find "$store" -name 'chunk-*.h5' -o -name 'chunk-*.h5.part' | wc -l)"
  most "shards and tokens" "$(bytes_of "$data")"
  most "held-out rows" "$(bytes_of "$store" -name 'heldout.h5*')"
  most "evidence rows" "$(bytes_of "$store" -name 'evidence.h5*')"
  most "trainer states" "$(bytes_of "$run" -name 'trainer_state.safetensors*')"
  most "SAELens folders" "$(bytes_of "$run" -name 'sae_weights.safetensors*')"
  most "features and report" "$(bytes_of "$run" '(' -path '*/features/*' -o -name 'report.html*' ')')"
  kill -CONT "$1"
}
"$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
pid=$!
for state in heldout blocks_0_1 blocks_0_9 sealed_0 checkpointed_0 blocks_1_3 sealed_1 checkpointed_1 sealed_2 \
  checkpointed_2 evaluated probed; do
  wait_until $pid $state
  look $pid
done
wait $pid || { tail -5 "$log"; fail "the run that was looked at"; }

# planned CLASS: bytes of the plan's line.
"$refract" run --dry-run "$config" "${settings[@]}" >"$work/plan" || fail "the dry run"
planned() {
  awk -v class="$1" 'BEGIN {unit["KiB"] = 1024; unit["MiB"] = 1048576; unit["GiB"] = 1073741824}
    index($0, "  " class " ") == 1 {sub("  " class " +", ""); printf "%d", ($1 + 0.05) * unit[$2]}' "$work/plan"
}
for class in "shards and tokens" "held-out rows" "evidence rows" "trainer states" "SAELens folders" \
  "features and report" "activation chunks" sum; do
  seen=${peak[$class]:-0} plan=$(planned "$class")
  [ "${plan:-0}" -gt 0 ] || { cat "$work/plan"; fail "the plan has no line '$class'"; }
  [ "$seen" -gt 0 ] || fail "nothing of '$class' was seen on disk"
  [ "$seen" -le "$plan" ] || fail "$class: $seen bytes were on disk, planned are $plan"
  echo "$class: $seen bytes on disk at the peak, planned $plan"
done
passed "each class stays within what the plan says of it"
allowed=$(grep -oE '\(([0-9]+) of 3 chunks' "$work/plan" | grep -oE '[0-9]+' | head -1)
[ "${peak[chunks]}" -eq "$allowed" ] || fail "${peak[chunks]} chunks were on disk at once, the plan allows $allowed"
passed "$allowed chunk(s) at a time, as planned"
[ "${peak[sum]}" -le $((70 * 1024 * 1024)) ] || fail "${peak[sum]} bytes on disk exceed the quota"
passed "at most ${peak[sum]} bytes on disk, of $((70 * 1024 * 1024)) allowed"

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
