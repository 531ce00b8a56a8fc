#!/usr/bin/env bash
# Ranks as a mesh and in groups: groups end with the bytes of one rank each, a mesh that was stopped within a chunk or
# killed with those of one that was not, from checkpoints that its ranks wrote together; what does not fit is refused
# in one line.
source "$(dirname "$0")/common.sh"
begin "$1" "$2"
mpiexec=$3

on() {
  local ranks=$1
  shift
  shrink "$@"
  run_on "$ranks" || { tail -20 "$log"; fail "$*: $ranks ranks ended with $?"; }
}

on 1 reference
fingerprint >"$work/reference.sums"
on 2 groups train.groups=2
expect_same_bytes "$work/reference.sums" "two groups of one rank, under fast"
on 1 ordered train.reduction=ordered
fingerprint >"$work/ordered.sums"
on 4 ordered_groups train.reduction=ordered train.groups=2 train.exchange=sharded
expect_same_bytes "$work/ordered.sums" "two groups of two ranks, sharded, under ordered"

# So many passes that a signal reaches the run within a chunk.
mesh=("train.mesh={rows: 2, features: 2}" train.exchange=sharded train.passes_per_chunk=12)
on 4 mesh "${mesh[@]}"
fingerprint >"$work/mesh.sums"
! diff -q "$work/reference.sums" "$work/mesh.sums" >/dev/null || fail "the mesh was not used"
shrink stopped "${mesh[@]}"
stop_on 4
grep -q '"checkpointed".*"complete":false' "$run/ledger.jsonl" || echo "note: it was not within a chunk"
run_on 4 || { tail -20 "$log"; fail "resuming the mesh"; }
expect_same_bytes "$work/mesh.sums" "a mesh of 2 x 2, stopped within a chunk and resumed"

shrink other "${mesh[@]}"
run_on 4 || { tail -20 "$log"; fail "the mesh"; }
settings+=(--set "train.mesh={rows: 4, features: 1}" --set train.tokens=16384)
run_on 4 && fail "another mesh went on with the run"
grep -q 'another configuration\|mesh: was 2 x 2' "$log" || { tail -3 "$log"; fail "another mesh was not named"; }
passed "another mesh does not go on with a run under fast"

refused() {
  local code=$1 text=$2 ranks=$3
  shift 3
  shrink refused "$@"
  run_on "$ranks"
  [ $? -eq "$code" ] || { tail -3 "$log"; fail "$*: expected exit $code"; }
  grep -q "$text" "$log" || { tail -3 "$log"; fail "$*: not '$text'"; }
  passed "refused: $text"
}
refused 2 'cannot be dealt evenly' 3 train.groups=2
refused 2 'adds in the order of one rank' 2 train.reduction=ordered "train.mesh={rows: 1, features: 2}"
refused 2 'promised on the CPU alone' 1 train.reduction=ordered device=cuda
