#!/usr/bin/env bash
# Every rule for which tokens become rows, with two hooks and an SAE on each: the stored rows are the ones that the rule
# names, and they stay so in reports and after a restart.
source "$(dirname "$0")/common.sh"
begin "$@"

low=blocks.1.hook_resid_post high=blocks.4.hook_mlp_out

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
python3 - "$work" <<'PY' || fail "a rule took other rows than it names"
import collections, glob, h5py, sys
taken = {}
for rule in ["all", "last", "nth_last", "middle", "random"]:
    of = collections.Counter()
    rows = 0
    for path in sorted(glob.glob(f"{sys.argv[1]}/{rule}/run/*_activations/chunk-*.h5")):
        with h5py.File(path) as f:
            assert len(f["hooks"]) == 2, f"{rule}: {len(f['hooks'])} hooks"
            a, b = (f["hooks"][hook]["activations"][:] for hook in f["hooks"])
            assert not (a == b).all(), f"{rule}: both hooks hold the same values"
            for key in zip(f["context"][:].tolist(), f["document"][:].tolist()): of[key] += 1
            rows += len(f["context"])
    assert rows == 192, (rule, rows)
    taken[rule] = max(of.values())
assert taken["all"] > 2, taken
assert taken["random"] == 2, taken
assert all(taken[rule] == 1 for rule in ["last", "nth_last", "middle"]), taken
print(taken)
PY
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
