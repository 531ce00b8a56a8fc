#!/usr/bin/env bash
# Every rule for which tokens become rows, with two hooks and an SAE on each: the stored rows are the ones that the rule
# names, and they stay so in reports and after a restart.
source "$(dirname "$0")/common.sh"
begin "$@"

low=blocks.1.hook_resid_post high=blocks.4.hook_mlp_out
rule() {
  local name=$1
  shift
  shrink "$name" hooks="[$low, $high]" saes.0.hook=$low saes.1.hook=$high rows.take="$1" \
    calibration.rows=256 heldout.rows=2048 store.chunk_rows=256 store.block_rows=32 train.tokens=448 train.batch_rows=64 \
    probe.tokens=512 saes.0.d_sae=64 saes.1.d_sae=128 saes.1.k=8 evaluate.ce_tokens=512
  call_must_succeed run
  fingerprint >"$work/$name.sums"
  call_must_succeed probe --verify
  grep -qE '[1-9][0-9]* rows' "$log" || { cat "$log"; fail "$1: nothing was verified"; }
  for hook in $low $high; do grep -q "$hook" "$run"/*_activations/manifest.yaml || fail "$1: no hook $hook"; done
  passed "rows.take $1: $(tail -1 "$log")"
}
rule all all
rule last last
rule nth_last '{nth_last: 2}'
rule middle middle
rule random '{random: 2}'

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
    assert rows == 448, (rule, rows)
    taken[rule] = max(of.values())
assert taken["all"] > 2, taken
assert taken["random"] == 2, taken
assert all(taken[rule] == 1 for rule in ["last", "nth_last", "middle"]), taken
print(taken)
PY
passed "a rule takes as many rows of a segment as it names"

cut() { grep 'chunk-000000.h5' "$work/$1.sums" | cut -d' ' -f1; }
[ "$(for r in all last nth_last middle random; do cut $r; done | sort -u | wc -l)" -eq 5 ] || fail "two rules store the same"
passed "no two rules store the same rows"

# Stopped in the middle, with a rule that draws.
cp "$work/random.sums" "$work/whole.sums"
rm -r "$work/random"
shrink random hooks="[$low, $high]" saes.0.hook=$low saes.1.hook=$high rows.take='{random: 2}' \
  calibration.rows=256 heldout.rows=2048 store.chunk_rows=256 store.block_rows=32 train.tokens=448 train.batch_rows=64 \
  probe.tokens=512 saes.0.d_sae=64 saes.1.d_sae=128 saes.1.k=8 evaluate.ce_tokens=512
stop_when USR1 blocks_0_1
call_must_succeed run
expect_same_bytes "$work/whole.sums" "random rows of two hooks, stopped and resumed"
