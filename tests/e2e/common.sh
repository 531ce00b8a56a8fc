# Sourced by every e2e test: `source common.sh; begin "$@"`. A test is called with the refract binary and the
# source folder; it works in a folder of its own, which stays behind when the test fails.
set -uo pipefail

# The model's name, and so the store's folder, follows the model folder's.
config=configs/demo.yaml
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

begin() {
  refract=$1
  cd "$2" || exit 1
  work=$(mktemp -d "${TMPDIR:-/tmp}/refract-e2e.XXXXXX")
  checks=0
  trap 'finish $?' EXIT
  echo "works in $work"
}

finish() {
  if [ "$1" -eq 0 ] && [ "$checks" -gt 0 ]; then
    rm -rf "$work"
    echo "$checks checks passed"
  else
    echo "failed after $checks checks; left in $work"
    exit 1
  fi
}

fail() {
  echo "FAILED: $*"
  exit 1
}

passed() {
  checks=$((checks + 1))
  echo "ok: $*"
}

# The demo, shrunk to seconds: one shard, three chunks, small dictionaries. shrink NAME fills `settings` for
# the run $work/NAME/run with the data root $work/NAME/data; what follows is added.
shrink() {
  local name=$1
  shift
  run=$work/$name/run
  data=$work/$name/data
  log=$work/$name.log
  settings=(
    --set run="$run" --set data_root="$data"
    --set source.from="file:configs/demo/shards/enwiki_namespace_0_0.jsonl.zst"
    --set calibration.rows=2048 --set calibration.max_tokens=2048 --set heldout.rows=2048
    --set store.chunk_rows=4096 --set store.block_rows=256
    --set train.tokens=12288 --set train.batch_rows=512 --set train.passes_per_chunk=2
    --set saes.0.d_sae=256 --set saes.0.k=8 --set saes.1.d_sae=512 --set saes.1.k=16
    --set probe.tokens=4096 --set probe.examples=5 --set evaluate.baselines=[pca,random])
  while [ $# -gt 0 ]; do
    settings+=(--set "$1")
    shift
  done
}

# The same, smaller still, for tests of hundreds of starts: a start costs what it does before its work.
tiny() {
  local name=$1
  shift
  shrink "$name" train.reduction=ordered store.chunk_rows=2048 heldout.rows=1024 calibration.rows=1024 \
    calibration.max_tokens=1024 train.tokens=8192 train.batch_rows=256 train.passes_per_chunk=1 saes.0.d_sae=64 \
    saes.0.k=4 saes.1.d_sae=96 saes.1.k=4 probe.tokens=2048 probe.examples=3 evaluate.ce_tokens=512 "$@"
}

# refract COMMAND on the shrunk configuration, in the foreground. What it prints goes to $log.
call() {
  local command=$1
  shift
  "$refract" "$command" "$config" "${settings[@]}" "$@" >"$log" 2>&1
}

# job_on RANKS [THREADS]: fills `job`, the run as a job of so many ranks; the test has set mpiexec.
job_on() {
  job=(env OMP_NUM_THREADS="${2:-1}" OMP_WAIT_POLICY=passive bash tests/support/mpi_launch.sh "$mpiexec" "$1"
    "$refract" run "$config" "${settings[@]}")
}

run_on() {
  job_on "$@"
  "${job[@]}" >"$log" 2>&1
}

# stop_on RANKS: runs in the background until a chunk is sealed, and stops it there.
stop_on() {
  job_on "$@"
  "${job[@]}" >"$log" 2>&1 &
  local pid=$!
  wait_for_ledger $pid '"sealed"'
  kill -USR1 $pid  # mpirun hands it on to every rank; on TERM it ends the job by its own rules
  wait $pid
  local code=$?
  [ $code -eq 85 ] || { tail "$log"; fail "a job of $1 ranks, stopped, ended with $code, expected 85"; }
}

call_must_succeed() {
  call "$@"
  local code=$?
  [ $code -eq 0 ] || { tail -20 "$log"; fail "refract $* ended with $code, expected 0"; }
}

# expect_error CODE PATTERN WHAT COMMAND...: the command ends with CODE and exactly one line that begins
# refract[0] and matches PATTERN.
expect_error() {
  local code=$1 pattern=$2 what=$3
  shift 3
  "$@" >"$work/error.out" 2>"$work/error.err"
  local found=$?
  cat "$work/error.err"
  [ "$found" -eq "$code" ] || fail "$what: exit code $found, expected $code"
  [ "$(grep -c '^refract\[0\]' "$work/error.err")" -eq 1 ] || fail "$what: not one line that begins refract[0]"
  grep '^refract\[0\]' "$work/error.err" | grep -qE "$pattern" || fail "$what: the message does not say '$pattern'"
  passed "$what"
}

# flip FILE [OFFSET_FROM_END]: another value in one byte.
flip() {
  python3 - "$@" <<'PY'
import sys
path, back = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None
data = bytearray(open(path, "rb").read())
data[len(data) - back if back else len(data) // 2] ^= 0x20
open(path, "wb").write(data)
PY
}

# Waits until the run's ledger holds the pattern; fails when the process $1 ends first.
wait_for_ledger() {
  local pid=$1 pattern=$2
  until grep -qsE "$pattern" "$run/ledger.jsonl"; do
    kill -0 "$pid" 2>/dev/null || { tail -20 "$log"; fail "the run ended before its ledger said '$pattern'"; }
    sleep 0.02
  done
}

# States of a run in the order it reaches them, each seen in its files: a test waits for one of these and never for
# a time, so that it holds on a machine ten times slower or faster. Behind each lies much work still to do.
states=(begun tokens calibrated heldout blocks_0_1 blocks_0_9 sealed_0 checkpointed_0 blocks_1_3 sealed_1
  checkpointed_1 sealed_2 checkpointed_2 evaluated)

reached() {
  local store chunk=${1#*_}
  store=$(echo "$run"/*_activations)
  case $1 in
    begun) [ -s "$run/ledger.jsonl" ] ;;
    tokens) compgen -G "$data/tokens/*/*.h5" >/dev/null ;;
    calibrated | heldout) compgen -G "$store/${1/calibrated/calibration}.h5" >/dev/null ;;
    blocks_*)  # blocks_CHUNK_N: so many of its blocks are on disk
      reached "sealed_${chunk%_*}" ||
        [ "$(cat "$store/chunk-00000${chunk%_*}.blocks."* 2>/dev/null | wc -l)" -ge "${chunk#*_}" ] ;;
    sealed_*) grep -qs "\"sealed\",\"chunk\":$chunk," "$run/ledger.jsonl" ;;
    checkpointed_*) grep -qs "\"checkpointed\".*\"visit\":$chunk," "$run/ledger.jsonl" ;;
    evaluated) grep -qs '"evaluate/small"' "$run/ledger.jsonl" ;;
    probed) grep -qs '"probe/small"' "$run/ledger.jsonl" ;;
    *) fail "no state is called $1" ;;
  esac
}

# Sets `state` to one of the next three that the run has not reached, by RANDOM; fails when it has reached them all.
next_state() {
  local all=() s
  for s in "${states[@]}"; do reached "$s" || all+=("$s"); done
  [ ${#all[@]} -gt 0 ] || return 1
  state=${all[$((RANDOM % (${#all[@]} < 3 ? ${#all[@]} : 3)))]}
}

# Waits until the run has reached the state; fails when the process $1 ends first.
wait_until() {
  until reached "$2"; do
    kill -0 "$1" 2>/dev/null || { tail -20 "$log"; fail "the run ended before it was $2"; }
    sleep 0.01
  done
}

# stop_when SIGNAL STATE: runs in the background until the state is reached, and stops it there.
stop_when() {
  "$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
  local pid=$!
  wait_until $pid "$2"
  kill -s "$1" $pid
  wait $pid
  local code=$?
  [ $code -eq 85 ] || { tail -5 "$log"; fail "SIG$1 when it was $2 ended the run with $code, expected 85"; }
}

# One line "digest path" for every file that must be byte-equal after a resume and for any rank count.
fingerprint() {
  (cd "$run" && find . -type f \( -path './*_activations/calibration.h5' -o -path './*_activations/heldout.h5' \
    -o -path './*_activations/evidence.h5' \
    -o -path './*_activations/chunk-*.h5' -o -path './saes/*' -o -path './statistics/*' -o -path './features/*' \) \
    ! -name timing.jsonl -print0 | sort -z | xargs -0 sha256sum)
  (cd "$data" && find ./tokens -type f ! -name '*.claim*' -print0 | sort -z | xargs -0 sha256sum)
}

# expect_same_bytes FINGERPRINT_FILE WHAT: the present run has the bytes of the recorded one.
expect_same_bytes() {
  fingerprint >"$work/now.sums"
  diff "$1" "$work/now.sums" || fail "$2: files differ"
  local parts=(calibration.h5 heldout.h5 evidence.h5 chunk-000000 trainer_state sae_weights metrics.jsonl features/ tokens/)
  for part in "${parts[@]}"; do
    grep -q "$part" "$work/now.sums" || fail "$2: no file '$part' was compared"
  done
  passed "$2: $(wc -l <"$work/now.sums") files have equal bytes"
}
