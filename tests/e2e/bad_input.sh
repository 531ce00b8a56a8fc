#!/usr/bin/env bash
# What is wrong is said in one line, with the right exit code, and nothing half-written has a final name.
source "$(dirname "$0")/common.sh"
begin "$@"
shards=configs/demo/shards
model=configs/demo/model

# refuse NAME CODE PATTERN WHAT [SETTING...]
refuse() {
  local name=$1 code=$2 pattern=$3 what=$4
  shift 4
  shrink "$name" "$@"
  expect_error "$code" "$pattern" "$what" "$refract" run "$config" "${settings[@]}"
  [ ! -e "$run/report.html" ] || fail "$what: a report was written"
}

# Configuration
refuse key 2 'tran.*train' "an unknown key, with the allowed ones" tran.tokens=all
refuse type 2 'batch_rows.*many' "a wrong type" train.batch_rows=many
refuse hook 2 'blocks.6' "an unknown hook point" 'hooks=[blocks.6.hook_resid_post]' 'saes.*.hook=blocks.6.hook_resid_post'
refuse unlisted 2 'does not list' "an SAE on a hook point that is not stored" 'hooks=[blocks.3.hook_resid_post]'
refuse k 2 'k is 512.*d_sae is 256' "k larger than d_sae" saes.0.k=512
refuse batch 2 'block' "block_rows that no slice divides" store.block_rows=250
refuse variant 2 'topk' "an unknown variant, with the known ones" saes.0.variant=magic
refuse disk 2 'disk' "a disk quota below what the run needs" disk.max_bytes=64KiB
expect_error 2 'nowhere.yaml' "a configuration that is not there" "$refract" run nowhere.yaml
printf 'run: [unclosed\n' >"$work/broken.yaml"
expect_error 2 'broken.yaml:[0-9]+' "a file that is not YAML" "$refract" run "$work/broken.yaml"
expect_error 2 'no_such_command|command' "an unknown command" "$refract" no_such_command

refuse number 2 'tokens.window_shards.*4294967295' "a number that does not fit" tokens.window_shards=4294967296
refuse index 2 'saes.99999999999999999999' "an index that does not fit" saes.99999999999999999999.k=1
refuse keep 2 'checkpoint.keep' "a keep rule that is none" 'checkpoint.keep=every two'
refuse tokens 2 '[^:]*refract.0. [^:]*: --set train.tokens: train.tokens is' "a setting is named once" train.tokens=100M
refuse report_file 2 'report.file' "a report that would replace the ledger" report.file=ledger.jsonl
refuse not_built 5 'store.mode.*not built' "what the format has and this version lacks" store.mode=memory
refuse path 2 'write file:' "a path without file:" "model=$PWD/$model"
printf 'run: a\nrun: b\n' >"$work/twice.yaml"
expect_error 2 'twice.yaml:2.*twice.yaml:1' "a key given twice" "$refract" run "$work/twice.yaml"
expect_error 2 'is a folder' "a folder as configuration" "$refract" run configs
: >"$work/empty.yaml"
expect_error 2 'an empty file' "an empty configuration" "$refract" run "$work/empty.yaml"
expect_error 2 'a binary file' "weights as configuration" "$refract" run $model/model.safetensors
expect_error 2 'no option --ranks' "an option that the command does not have" "$refract" download "$config" --ranks 2
expect_error 2 '4294967297' "a number of ranks that does not fit" "$refract" run "$config" --ranks 4294967297

# plan_refuses CODE PATTERN WHAT [SETTING...]: the dry run says it, and the run as soon.
plan_refuses() {
  local code=$1 pattern=$2 what=$3
  shift 3
  shrink planned "$@"
  expect_error "$code" "$pattern" "$what, in the dry run" "$refract" run "$config" "${settings[@]}" --dry-run
  expect_error "$code" "$pattern" "$what, at the start" "$refract" run "$config" "${settings[@]}"
  [ ! -e "$run/status" ] || fail "$what: something was begun"
}
plan_refuses 2 'hooks: hook blocks.9' "a hook beyond the layers" 'hooks=[blocks.9.hook_resid_post]' \
  'saes.*.hook=blocks.9.hook_resid_post'
plan_refuses 2 'tokens.context' "contexts longer than the model's positions" tokens.context=100000
mkdir -p "$work/cut"
cp $model/* "$work/cut"
truncate -s 1000000 "$work/cut/model.safetensors"
plan_refuses 3 'model.safetensors' "weights cut short" "model=file:$work/cut"

# Shards
refuse missing_shard 2 'nothing' "a source that matches no file" "source.from=file:$work/nothing*.jsonl.zst"
head -c 100000 $shards/enwiki_namespace_0_0.jsonl.zst >"$work/cut.jsonl.zst"
refuse cut_shard 3 'cut.jsonl.zst' "a shard cut short" "source.from=file:$work/cut.jsonl.zst"
[ -z "$(find "$data/tokens" -name '*.h5' 2>/dev/null)" ] || fail "a shard cut short left a token shard behind"
head -c 3000 /dev/urandom >"$work/noise.jsonl.zst"
refuse noise_shard 3 'noise.jsonl.zst' "a shard that is noise" "source.from=file:$work/noise.jsonl.zst"
refuse small 3 'batch' "a corpus smaller than a batch" train.tokens=all train.batch_rows=262144 \
  store.chunk_rows=262144 store.block_rows=2048

# What was fetched is kept, also before a run has begun with it.
shrink fetched
call_must_succeed download
[ "$(find "$data/shards" -name '*.jsonl.zst' | wc -l)" -eq 1 ] || fail "download fetched no shard"
expect_error 2 'not both' "clean --yes --dry-run" "$refract" clean "$config" "${settings[@]}" --yes --dry-run
"$refract" clean "$config" "${settings[@]}" --yes >"$log" || fail "clean after download"
[ "$(find "$data/shards" -name '*.jsonl.zst' | wc -l)" -eq 1 ] || fail "clean removed what was fetched"
rm -r "$run"
"$refract" clean "$config" "${settings[@]}" --dry-run | grep -q 'no run names it' || fail "clean --dry-run lists nothing"
[ "$(find "$data/shards" -name '*.jsonl.zst' | wc -l)" -eq 1 ] || fail "clean --dry-run removed something"
passed "clean keeps what download fetched while the folder of its run is there"

# Models
copy_model() {
  rm -rf "$work/model"
  cp -r $model "$work/model"
}
refuse no_model 3 'model' "a model folder that is not there" "model=file:$work/no_model"
copy_model
head -c 1000000 $model/model.safetensors >"$work/model/model.safetensors"
refuse cut_model 3 'model.safetensors' "weights cut short" "model=file:$work/model"
copy_model
echo '{' >"$work/model/config.json"
refuse bad_config 3 'config.json' "a model configuration that is not JSON" "model=file:$work/model"
copy_model
sed -i 's/"vocab_size": *8192/"vocab_size": 4096/' "$work/model/config.json"
refuse vocabulary 3 'config.json.*4096' "a model configuration of another vocabulary" "model=file:$work/model"
copy_model
sed -i 's/\b8191\b/9191/g' "$work/model/tokenizer.json"
refuse tokenizer 3 'tokenizer.*(9191|9192|8192)' "a tokenizer with ids beyond the model's" "model=file:$work/model"
rm "$work/model/tokenizer.json"
refuse no_tokenizer 3 'tokenizer.json' "a model without a tokenizer" "model=file:$work/model"

# Artifacts of an earlier attempt
shrink artifacts
call_must_succeed run
expect_error 2 'frozen configuration of a run' "run.yaml as configuration" "$refract" run "$run/run.yaml"
"$refract" describe --verify "$work/artifacts" | grep -qE '[0-9]+ file\(s\) verified' || fail "describe --verify of a whole run"
shard=$(echo "$data"/shards/*/*.zst)
ln -s "$work/nowhere" "$run/dangling"
while read -r what path; do
  "$refract" describe "$path" >"$log" 2>&1 && grep -q "${what//_/ }" "$log" || { cat "$log"; fail "describe $path does not say $what"; }
done <<END
folder_of_a_run $run
folder_of_a_run $run/
activation_store $(echo "$run"/*_activations)
SAEs_of_a_run $run/saes
an_SAE: $run/saes/big
checkpoints_of_one $run/saes/big/checkpoints
checkpoint_of_one $run/saes/big/latest
features_mean $run/features
a_report $run/report.html
data_root $data
all_corpora $data/shards
all_corpora $data/tokens
shards_of_a_corpus $(dirname "$shard")
sha256 $shard
token_shards $(echo "$data"/tokens/*)
context_tables $(echo "$data"/tokens/*/contexts-*)
language_model $model
END
passed "describe knows the folders of a run, of a data root and of a model, and what lies in them"
expect_error 3 'dangling does not exist' "a link to nothing" "$refract" describe "$run/dangling"
rm "$run/dangling"
expect_error 4 'cannot be used: .*Check that' "a name that the file system refuses" \
  "$refract" report "$config" "${settings[@]}" --set run="$work/$(printf 'a%.0s' {1..300})"
"$refract" describe --verify "$shard" | grep -q '1 file(s) verified' || fail "describe --verify of a raw shard"
"$refract" describe --verify "$run/saes/big/latest" | grep -q ' 0 file(s) verified; 1 safetensors .* structure only' ||
  fail "weights that have no digest count as verified"
"$refract" describe --verify "$run" | grep -q 'structure only' || fail "structure only"

# changed FILE [OFFSET_FROM_END]: one byte of it is another; the run, the file and its folder say so.
changed() {
  local file=$1 path
  cp "$file" "$work/whole"
  flip "$@"
  for path in "$work/artifacts" "$file" "$(dirname "$file")"; do
    expect_error 3 "$(basename "$file")" "describe --verify of a changed $(basename "$file")" \
      "$refract" describe --verify "$path"
  done
  cp "$work/whole" "$file"
}
changed "$run/saes/small/evaluation.json"
changed "$run/saes/small/metrics.jsonl"
changed "$run/features/big.h5"
changed "$(echo "$run"/*_activations/chunk-000001.h5)"
changed "$(echo "$run"/*_activations/calibration.h5)"
changed "$run/saes/big/checkpoints/chunk-000000/state.json"
changed "$run/saes/big/checkpoints/chunk-000002/trainer_state.safetensors"
changed "$run/report.html"
changed "$shard"
# Whole in itself, and not what the ledger names.
cp "$run/saes/big/evaluation.json" "$work/whole"
cp "$run/saes/small/evaluation.json" "$run/saes/big/evaluation.json"
expect_error 3 'saes/big/evaluation.json is not what the ledger names' "another SAE's evaluation" \
  "$refract" describe --verify "$run"
rm "$run/saes/big/evaluation.json"
expect_error 3 'saes/big/evaluation.json is missing' "a missing evaluation" "$refract" describe --verify "$run"
cp "$work/whole" "$run/saes/big/evaluation.json"
"$refract" describe --verify "$work/artifacts" >/dev/null || fail "describe --verify once all is whole again"
cp "$run/features/small.h5" "$work/whole_features.h5"
middle=$(($(stat -c %s "$run/features/small.h5") / 2))
tail -c +$((middle + 1)) "$work/whole_features.h5" | head -c 64 | tr '\000-\377' '\001-\377\000' |
  dd of="$run/features/small.h5" bs=1 seek=$middle conv=notrunc status=none
expect_error 3 'small.h5' "describe --verify of changed bytes" "$refract" describe --verify "$run"
cp "$work/whole_features.h5" "$run/features/small.h5"
"$refract" clean "$config" "${settings[@]}" | grep -q 'nothing that no run names' || fail "clean while the run exists"
expect_error 3 'train.tokens.*corpus gives' "more train.tokens than a tokenized corpus holds" \
  "$refract" run "$config" "${settings[@]}" --set run="$work/artifacts/other" --set train.tokens=200000 --dry-run
chunk=$(echo "$run"/*_activations/chunk-000001.h5)
cp "$chunk" "$work/whole_chunk.h5"
head -c 100000 "$work/whole_chunk.h5" >"$chunk"
expect_error 3 'chunk-000001.h5' "a chunk file cut short" "$refract" probe --verify "$config" "${settings[@]}"
cp "$work/whole_chunk.h5" "$chunk"
expect_error 2 'saes.0.k|saes' "a checkpoint of another configuration" \
  "$refract" run "$config" "${settings[@]}" --set saes.0.k=4

# A full disk: a small file system, where one can be mounted. (A file size limit cannot stand in: Open MPI fails
# under it before refract runs.)
shrink full
mkdir -p "$work/full"
if mount -t tmpfs -o size=6m tmpfs "$work/full" 2>/dev/null; then
  expect_error 4 'space' "a full disk" "$refract" run "$config" "${settings[@]}"
  [ -z "$(find "$run" -name 'chunk-*.h5' -size -100k)" ] || fail "a chunk cut short has its final name"
  mount -o remount,size=512m "$work/full"
  call_must_succeed run
  passed "the run goes on when there is space again"
  umount "$work/full"
else
  echo "skipped: a full disk on a small file system (mount is not allowed here)"
fi
