#!/usr/bin/env bash
# Results do not depend on the number of ranks: layouts, ranks and threads end with the same bytes under `ordered`,
# also when a run is stopped on 4 ranks and resumed on 3; under `fast` running twice gives the same bytes.
source "$(dirname "$0")/common.sh"
begin "$1" "$2"
mpiexec=$3

# on RANKS THREADS NAME SETTINGS...: the shrunk demo on so many ranks.
on() {
  local ranks=$1 threads=$2
  shift 2
  shrink "$@"
  run_on "$ranks" "$threads" ||
    { tail -20 "$log"; fail "$*: $ranks ranks ended with $?"; }
}

on 1 1 reference train.reduction=ordered
fingerprint >"$work/reference.sums"
for ranks in 2 3 4; do
  for layout in fused split; do
    threads=$((ranks % 2 + 1))
    on $ranks $threads "$layout$ranks" train.reduction=ordered pipeline.layout=$layout
    expect_same_bytes "$work/reference.sums" "$layout on $ranks ranks with $threads thread(s) each"
  done
done
on 1 2 threads train.reduction=ordered
expect_same_bytes "$work/reference.sums" "1 rank with 2 threads"
on 3 1 sharded train.reduction=ordered pipeline.layout=fused train.exchange=sharded
expect_same_bytes "$work/reference.sums" "train.exchange sharded on 3 ranks"
on 4 1 counted train.reduction=ordered pipeline.layout=split pipeline.download_ranks=1 pipeline.tokenize_ranks=1 \
  pipeline.extract_ranks=1 pipeline.train_ranks=1
expect_same_bytes "$work/reference.sums" "one rank for each role"

# Stopped on 4 ranks, resumed on 3.
shrink resumed train.reduction=ordered
stop_on 4
grep -qE '^resume [^ ]+ 1 85 ' "$run/status" || fail "status is '$(cat "$run/status")'"
run_on 3 || { tail -20 "$log"; fail "resuming on 3 ranks"; }
expect_same_bytes "$work/reference.sums" "stopped on 4 ranks, resumed on 3"

# A stream: the corpus is longer than what is trained on, so extraction starts before all of it is tokenized.
stream=(source.from="file:configs/demo/shards/*.jsonl.zst" tokens.window_shards=1 train.tokens=12288 pipeline.queue_chunks=1)
on 1 2 stream1 train.reduction=ordered "${stream[@]}"
fingerprint | grep -v ' ./tokens' >"$work/stream.sums"
on 3 1 stream3 train.reduction=ordered pipeline.layout=split "${stream[@]}"
fingerprint | grep -v ' ./tokens' | diff "$work/stream.sums" - || fail "a streamed corpus gives other bytes on 3 ranks"
[ "$(find "$data/tokens" -name '*.h5' -path '*contexts*' | wc -l)" -lt 8 ] || fail "all shards were tokenized for a fraction of them"
passed "a streamed corpus, on 1 rank and split over 3"

# Windows of less than a batch each: who is told of several at once waits for the last before it counts.
small=(source.from="file:configs/demo/shards/enwiki_namespace_0_[01].jsonl.zst" tokens.window_shards=1 rows.take=last
  tokens.context=128 train.tokens=all train.batch_rows=1024 store.chunk_rows=2048 train.passes_per_chunk=1 evaluate.ce=false)
on 1 2 small1 train.reduction=ordered "${small[@]}"
fingerprint >"$work/small.sums"
windows=$(ls "$data"/tokens/*/contexts-*/window-*.h5 | wc -l)
[ "$windows" -eq 2 ] || fail "$windows windows, expected 2"
on 2 1 small2 train.reduction=ordered pipeline.layout=split "${small[@]}"
expect_same_bytes "$work/small.sums" "windows of less than a batch, split over 2 ranks"

# fast: the same samples, other sums; the same bytes when run twice the same way.
on 2 1 fast_a train.reduction=fast
fingerprint >"$work/fast.sums"
on 2 1 fast_b train.reduction=fast
expect_same_bytes "$work/fast.sums" "fast on 2 ranks, run twice"
