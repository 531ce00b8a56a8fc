#!/usr/bin/env bash
# What runs share under data_root: made once by whoever comes first, known by its content, made again when damaged.
source "$(dirname "$0")/common.sh"
begin "$@"

# digest_of FOLDER: of the names and bytes of all shards and tokens below it.
digest_of() { (cd "$1" && find shards tokens -type f | sort | xargs sha256sum | sha256sum); }

for turn in 1 2 3; do
  shrink "first$turn" source.from="file:configs/demo/shards/*.jsonl.zst"
  "$refract" tokenize "$config" "${settings[@]}" >"$work/first.log" 2>&1 &
  first=$!
  "$refract" tokenize "$config" "${settings[@]}" --set run="$work/second$turn/run" >"$work/second.log" 2>&1 \
    || { cat "$work/second.log"; fail "the second of two runs on one fresh data_root"; }
  wait $first || { cat "$work/first.log"; fail "the first of two runs on one fresh data_root"; }
  [ -z "$(find "$data" -name '*.part' -o -name '*.claim*')" ] || fail "something is left: $(find "$data" -name '*.part' -o -name '*.claim*')"
  [ "$turn" -eq 1 ] && together=$(digest_of "$data")
  [ "$together" = "$(digest_of "$data")" ] || fail "two runs together made other bytes"
done
passed "two runs on one fresh data_root both end well, with the same bytes each time"

# Whole runs: at the same time on one data_root, and one after the other.
shrink shared
inodes() { find "$data/shards" "$data/tokens" -type f ! -name '*.claim*' ! -name '*.part' -printf '%P %i\n' 2>/dev/null | sort; }
learned() { (cd "$1" && find . -path './saes/*/checkpoints/*' -type f | sort | xargs sha256sum); }
"$refract" run "$config" "${settings[@]}" >"$work/first.log" 2>&1 &
first=$!
"$refract" run "$config" "${settings[@]}" --set run="$work/shared/second" >"$work/second.log" 2>&1 &
second=$!
seen=
until [ -n "$seen" ]; do  # the token shard as it first came, whoever made it
  seen=$(inodes | grep 'tokens\|[.]h5' | grep -v contexts)
  kill -0 $first 2>/dev/null || kill -0 $second 2>/dev/null || break
  sleep 0.01
done
wait $first || { tail -5 "$work/first.log"; fail "the first of two runs at the same time"; }
wait $second || { tail -5 "$work/second.log"; fail "the second of two runs at the same time"; }
[ -n "$seen" ] || fail "no token shard was seen"
inodes | grep -qxF "$seen" || fail "a token shard was made twice: first $seen, now $(inodes)"
after=$(inodes)
"$refract" run "$config" "${settings[@]}" --set run="$work/shared/third" >"$log" 2>&1 || { tail -5 "$log"; fail "a third run, later"; }
[ "$after" = "$(inodes)" ] || fail "a later run made shards or tokens again"
learned "$work/shared/run" >"$work/first.sums"
[ "$(wc -l <"$work/first.sums")" -ge 12 ] || fail "only $(wc -l <"$work/first.sums") files of checkpoints"
for other in second third; do
  learned "$work/shared/$other" | diff "$work/first.sums" - || fail "the $other run on one data_root learned something else"
done
passed "runs on one data_root, at the same time and later, make tokens once and learn the same"

shrink alone
cp configs/demo/shards/enwiki_namespace_0_0.jsonl.zst "$work/mine.jsonl.zst"
settings+=(--set source.from="file:$work/mine.jsonl.zst")
call_must_succeed tokenize
whole=$(digest_of "$data")
raw=$(find "$data/shards" -name mine.jsonl.zst)
tokens=$(find "$data/tokens" -maxdepth 2 -name mine.h5)

# change FILE: one byte in its middle; its size stays.
change() {
  local middle=$(($(stat -c %s "$1") / 2))
  local byte
  byte=$(od -An -tu1 -j $middle -N 1 "$1")
  printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek=$middle conv=notrunc status=none
  touch -d '2001-01-01' "$1"  # whatever the clock's step, the times differ
}
change "$raw"
change "$tokens"
call_must_succeed tokenize
grep -q "mine.jsonl.zst is not what was fetched" "$log" || fail "a raw shard changed in place is not noticed"
grep -q "mine.h5 .*made again" "$log" || fail "a damaged token shard is not noticed"
[ "$whole" = "$(digest_of "$data")" ] || fail "what was made again has other bytes"
passed "a raw shard changed in place is fetched again, a damaged token shard made again"

change "$work/mine.jsonl.zst"
"$refract" tokenize "$config" "${settings[@]}" --set run="$work/other/run" >"$log" 2>&1
[ "$(find "$data/shards" -maxdepth 1 -mindepth 1 | wc -l)" -eq 2 ] || fail "a changed source is taken for the corpus before"
passed "a source changed in place is another corpus"

gzip -c configs/demo/model/config.json >"$work/a.jsonl.gz"
touch "$work/a.jsonl"
expect_error 2 'a.jsonl and a.jsonl.gz.*a.h5' "two shards of one stem" \
  "$refract" tokenize "$config" "${settings[@]}" --set run="$work/stem/run" --set source.from="file:$work/a.jsonl*"
expect_error 2 'a.jsonl and a.jsonl.gz.*a.h5' "two shards of one stem, in the dry run" \
  "$refract" run --dry-run "$config" "${settings[@]}" --set source.from="file:$work/a.jsonl*"

shrink limited
limited() { (ulimit -f 100 && "$refract" "$@"); }
expect_error 4 'jsonl.zst.part.*ulimit -f' "a file size limit" limited download "$config" "${settings[@]}"
call_must_succeed download
passed "download goes on without the limit"

# A disk that is full while tokens are written, where a small file system can be mounted.
shrink full
mkdir -p "$work/full"
if mount -t tmpfs -o size=900k tmpfs "$work/full" 2>/dev/null; then
  expect_error 4 'space' "a disk full of tokens" "$refract" tokenize "$config" "${settings[@]}"
  [ -z "$(find "$data/tokens" -name '*.h5*')" ] || fail "half a token shard is left"
  mount -o remount,size=64m "$work/full"
  call_must_succeed tokenize
  passed "tokenize goes on when there is space again"
  umount "$work/full"
else
  echo "skipped: a full disk on a small file system (mount is not allowed here)"
fi
