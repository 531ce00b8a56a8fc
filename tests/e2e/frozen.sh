#!/usr/bin/env bash
# What is frozen when, and what the status says: a mistake that computed nothing can be mended; a run is what its
# inputs are by content; a start that is refused changes nothing.
source "$(dirname "$0")/common.sh"
begin "$@"

status_is() { grep -qE "^$1\$" "$run/status" || fail "status is '$(cat "$run/status")', expected '$1'"; }

shrink mended
expect_error 3 'modle' "a model that is not there" "$refract" run "$config" "${settings[@]}" --set model=file:configs/demo/modle
[ ! -e "$run/run.yaml" ] || fail "a start that was refused froze its configuration"
expect_error 3 'train.batch_rows' "a corpus of less than a batch" \
  "$refract" run "$config" "${settings[@]}" --set train.tokens=all --set train.batch_rows=131072 \
  --set store.chunk_rows=131072 --set store.block_rows=1024
call_must_succeed run
status_is 'done pid-[0-9]+ [0-9]+ 0 run'
passed "what was wrong is mended, as the message advises, and the run goes on"

before=$(cat "$run/status")
expect_error 2 'saes.0.k: was 8, is now 9' "another SAE" "$refract" run "$config" "${settings[@]}" --set saes.0.k=9
expect_error 2 'tokens.context: was' "another context length" \
  "$refract" run "$config" "${settings[@]}" --set tokens.context=128
expect_error 2 'training ranks: were 1, are now 2' "another number of ranks under fast" \
  "$refract" run "$config" "${settings[@]}" --ranks 2 --set report.file=other.html
"$refract" run "$config" "${settings[@]}" --dry-run >"$log" || fail "the dry run of a run as it was started"
for setting in saes.0.k=9 tokens.context=128; do
  expect_error 2 '.*' "$setting" "$refract" run "$config" "${settings[@]}" --set $setting
  cp "$work/error.err" "$work/of_the_run"
  expect_error 2 'was started with another configuration' "$setting, in the dry run" \
    "$refract" run "$config" "${settings[@]}" --set $setting --dry-run
  cmp "$work/error.err" "$work/of_the_run" || fail "the dry run says it in other words"
done
expect_error 2 'training ranks: were 1, are now 2' "another number of ranks, in the dry run" \
  "$refract" run "$config" "${settings[@]}" --ranks 2 --dry-run
"$refract" run "$config" "${settings[@]}" --ranks 2 --dry-run --allow-numerics-change >"$log" ||
  fail "the dry run of a change of numerics that is allowed"
call_must_succeed run
grep -c 'report.html' "$log" | grep -qx 1 || fail "a finished run names its report other than once"
[ "$(cat "$run/status")" = "$before" ] || fail "a refused start changed the status to '$(cat "$run/status")'"
passed "a refused start leaves the status alone"

# Content, not names.
cp -r configs/demo/model "$work/first"
shrink model model="file:$work/first" train.tokens=8192
call_must_succeed run
mv "$work/first" "$work/second"
rm "$run/report.html"
shrink model model="file:$work/second" train.tokens=8192
call_must_succeed run
[ "$(ls -d "$run"/*_activations | wc -l)" -eq 1 ] || fail "a renamed model got a second store"
passed "a model that was moved and renamed is the same model"
flip "$work/second/model.safetensors" 2000
expect_error 2 'model: the content' "other weights of the same shape are refused" \
  "$refract" run "$config" "${settings[@]}"

store_of() { grep -oE '"store":"[0-9a-f]+"' "$1/ledger.jsonl" | head -1; }
shrink fresh model="file:$work/second" train.tokens=8192
call_must_succeed extract
[ -n "$(store_of "$run")" ] && [ "$(store_of "$run")" != "$(store_of "$work/model/run")" ] ||
  fail "other weights under the same path got the same store"
passed "a fresh run of other weights under the same path has another store"
shrink model model="file:$work/second" train.tokens=8192

expect_error 3 'second is not the model of the run' "describe --verify compares the model" \
  "$refract" describe --verify "$run"

mkdir "$work/shards"
cp configs/demo/shards/enwiki_namespace_0_[12].jsonl.zst "$work/shards"
shrink corpus source.from="file:$work/shards/*.jsonl.zst" train.tokens=8192
call_must_succeed extract
status_is 'done pid-[0-9]+ [0-9]+ 0 extract'
cp configs/demo/shards/enwiki_namespace_0_0.jsonl.zst "$work/shards"
expect_error 2 'source.from: shard 1 of 2 was enwiki_namespace_0_1' "another corpus is refused, and the shard named" \
  "$refract" run "$config" "${settings[@]}"
expect_error 2 'source.from: shard 1 of 2 was enwiki_namespace_0_1' "another corpus, in the dry run" \
  "$refract" run "$config" "${settings[@]}" --dry-run
rm "$work/shards/enwiki_namespace_0_0.jsonl.zst"
call_must_succeed run
passed "with the corpus as it was the run goes on"

# Nothing of train is in the store.
shrink batch
call_must_succeed extract
(cd "$run" && sha256sum ./*_activations/{calibration,heldout,evidence,chunk-00000{0,1,2}}.h5) >"$work/store.sums"
settings+=(--set train.batch_rows=1024 --set train.input_scale=none --set train.tokens=11264)
call_must_succeed run
(cd "$run" && sha256sum -c --quiet "$work/store.sums") >"$work/changed" 2>/dev/null
[ "$(grep -oE '[a-z0-9-]+\.h5: FAILED' "$work/changed" | sort | tr '\n' ' ')" = "chunk-000002.h5: FAILED evidence.h5: FAILED " ] ||
  fail "other settings of train changed: $(cat "$work/changed")"
passed "another batch, scale and length use the same store; the last chunk alone, and the evidence, are made again"

shrink short train.tokens=200000
expect_error 3 'train.tokens is 200000, but the corpus gives [0-9]+ rows' "more tokens than the corpus holds" \
  "$refract" run "$config" "${settings[@]}"
[ ! -e "$run/saes/small/latest" ] || fail "it was trained first"
rows=$(grep -oE 'corpus gives [0-9]+' "$work/error.err" | grep -oE '[0-9]+')
call_must_succeed run --set train.tokens=$((rows / 512 * 512))
passed "its advice, train.tokens $rows, works"

shrink old
mkdir -p "$run"
echo '{"event":"attempt","attempt":1,"job":"j","host":"h","ranks":1,"time":"t"}' >"$run/ledger.jsonl"
expect_error 3 'refract 0.1.0' "a run of refract 0.1.0 is refused in one line" "$refract" run "$config" "${settings[@]}"

# report on a stopped run reports and does not train.
shrink stopped
stop_when USR1 checkpointed_0
status_is 'resume pid-[0-9]+ 1 85 .*'
before=$(cat "$run/status" "$run/ledger.jsonl" | grep -v finished | sha256sum)
call_must_succeed report
[ -s "$run/report.html" ] || fail "no report"
[ "$(cat "$run/status" "$run/ledger.jsonl" | grep -v finished | sha256sum)" = "$before" ] || fail "report changed the run"
[ ! -e "$run/features/small.h5" ] || fail "report probed"
"$refract" describe --verify "$run" >"$log" 2>&1 || { cat "$log"; fail "describe --verify of a stopped run"; }
call_must_succeed run
passed "report on a stopped run reports; the run then goes on"

# What computes is frozen too: another number of ranks changes sums under fast. It is refused, and allowed by name.
shrink numerics
stop_when USR1 checkpointed_0
trained() { grep -c '"checkpointed".*"complete":true' "$run/ledger.jsonl"; }
before=$(trained)
expect_error 2 'training ranks: were 1, are now 2.*--allow-numerics-change' "a resume on other ranks" \
  "$refract" run "$config" "${settings[@]}" --ranks 2
[ "$(trained)" -eq "$before" ] || fail "a refused start trained"
call_must_succeed run --ranks 2 --allow-numerics-change
status_is 'done .*'
[ "$(trained)" -gt "$before" ] || fail "nothing was trained after the change"
grep -qE 'ranks: 2' "$run/run.yaml" || fail "run.yaml does not say what it goes on with: $(grep -A9 numerics "$run/run.yaml")"
expect_error 2 'training ranks: were 2, are now 1' "and from then on, the ranks before" \
  "$refract" run "$config" "${settings[@]}" --set report.file=other.html
passed "with --allow-numerics-change the run goes on, and its new numerics are frozen"
