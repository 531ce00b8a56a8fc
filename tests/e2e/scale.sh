#!/usr/bin/env bash
# Size: sixteen ranks on whatever cores there are give the bytes of one, and a corpus ten times as long takes no more
# memory on any rank.
source "$(dirname "$0")/common.sh"
begin "$1" "$2"
mpiexec=$3
renumber=$4
launch=tests/support/mpi_launch.sh

# on RANKS NAME SETTINGS...: the shrunk demo on so many ranks.
on() {
  local ranks=$1
  shift
  shrink "$@"
  OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
    bash "$launch" "$mpiexec" "$ranks" "$refract" run "$config" "${settings[@]}" >"$log" 2>&1 ||
    { tail -20 "$log"; fail "$*: $ranks ranks ended with $?"; }
}

on 1 one train.reduction=ordered
fingerprint >"$work/one.sums"
on 16 sixteen train.reduction=ordered pipeline.layout=fused
expect_same_bytes "$work/one.sums" "sixteen ranks, fused"
on 16 roles train.reduction=ordered pipeline.layout=split
expect_same_bytes "$work/one.sums" "sixteen ranks, split"

# Every rank's peak, least and most, in MiB.
peaks() {
  sed -nE 's/^memory: ([0-9.]+) MiB to ([0-9.]+) MiB on a rank at its peak$/\1 \2/p' "$log"
}
mkdir "$work/corpus"
"$renumber" configs/demo/shards/enwiki_namespace_0_0.jsonl.zst "$work/corpus/pages" 10 || fail "renumber ended with $?"
long=(tokens.window_shards=1 rows.take=last tokens.context=64 train.tokens=all store.chunk_rows=1024
  store.block_rows=64 train.batch_rows=128 train.passes_per_chunk=1 evaluate.ce=false)
on 2 once source.from="file:$work/corpus/pages-0.jsonl" "${long[@]}"
once=$(peaks)
once_rows=$(grep -oE '[0-9]+ rows to train on' "$log" | head -1)
on 2 tenfold source.from="file:$work/corpus/pages-*.jsonl" "${long[@]}"
tenfold=$(peaks)
tenfold_rows=$(grep -oE '[0-9]+ rows to train on' "$log" | head -1)
[ -n "$once" ] && [ -n "$tenfold" ] || fail "the log does not say how much memory the ranks held"
[ "${tenfold_rows%% *}" -gt $((9 * ${once_rows%% *})) ] || fail "$once_rows, and $tenfold_rows of ten times the corpus"
read -r once_least once_most <<<"$once"
read -r ten_least ten_most <<<"$tenfold"
awk -v a="$once_least" -v b="$ten_least" -v c="$once_most" -v d="$ten_most" \
  'BEGIN { exit !(b <= 1.1 * a && d <= 1.1 * c) }' ||
  fail "ranks held $once MiB at their peak, with ten times the corpus $tenfold"
passed "ranks held $once MiB at their peak ($once_rows), with ten times the corpus $tenfold ($tenfold_rows)"
