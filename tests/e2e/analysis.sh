#!/usr/bin/env bash
# The end of a run: each evaluated and each probed SAE is finished by itself. A stop loses the work on one of them at
# most; what is damaged, missing or of other settings is made again, and nothing else; a stopped run can be reported.
source "$(dirname "$0")/common.sh"
begin "$@"

# The second SAE is large, so that probing it takes long on any machine.
analysed() {
  shrink "$1" train.tokens=4096 train.passes_per_chunk=1 saes.1.d_sae=16384 evaluate.ce=false disk.max_bytes=8GiB "${@:2}"
}
lines_of() { grep -c "\"$1\"" "$run/ledger.jsonl"; }
expect_lines() {
  local part
  for part in evaluate/small evaluate/big probe/small probe/big; do
    [ "$(lines_of $part)" -eq "$1" ] || fail "$2: the ledger has $(lines_of $part) lines of $part, expected $1"
  done
  passed "$2"
}
word() { cut -d' ' -f1 "$run/status"; }

analysed whole
call_must_succeed run
whole=$run

analysed stopped
stop_when TERM probed
[ "$(word)" = resume ] || fail "status is '$(cat "$run/status")', expected resume"
[ ! -e "$run/features/big.h5" ] && [ ! -e "$run/report.html" ] || fail "it had ended before it was stopped"
passed "stopped while an SAE is probed"
call_must_succeed run
expect_lines 1 "what was finished before the stop is not made again"
for part in features/{small,big}.h5 saes/{small,big}/evaluation.json; do
  cmp "$whole/$part" "$run/$part" || fail "$part of a stopped run has other bytes"
done
passed "the same bytes as of a run never stopped"

# Other settings of one part.
call_must_succeed run --set report.file=other.html
[ -s "$run/other.html" ] || fail "no other.html"
expect_lines 1 "another report.file makes the report alone"

# Damage.
cp "$run/features/small.h5" "$work/small.h5"
flip "$run/features/small.h5"
expect_error 3 'features/small.h5 .*Run refract probe: it makes the file again' "damaged features are refused by name" \
  "$refract" probe "$config" "${settings[@]}" --sae small --feature 1
call_must_succeed probe
cmp "$work/small.h5" "$run/features/small.h5" || fail "refract probe did not make the damaged file again"
call_must_succeed probe --sae small --feature 1
[ "$(lines_of probe/small)" -eq 2 ] && [ "$(lines_of probe/big)" -eq 1 ] || fail "more than the damaged file was made again"
passed "the advice is true: refract probe makes it again, and only it"
cp "$run/saes/big/evaluation.json" "$work/evaluation.json"
for bytes in 0 100; do
  head -c $bytes "$work/evaluation.json" >"$run/saes/big/evaluation.json"
  expect_error 3 'saes/big/evaluation.json .*Run refract evaluate: it makes the file again' \
    "an evaluation cut to $bytes bytes is refused by name" "$refract" report "$config" "${settings[@]}"
  call_must_succeed evaluate
  cmp "$work/evaluation.json" "$run/saes/big/evaluation.json" || fail "the evaluation was not made again"
done
rm "$run/features/small.h5" "$run/saes/small/evaluation.json"
call_must_succeed run
cmp "$work/small.h5" "$run/features/small.h5" || fail "missing features were not made again"
passed "what is damaged or missing is made again"

# A run that was stopped in training.
shrink early
stop_when USR1 checkpointed_0
[ "$(word)" = resume ] || fail "status is '$(cat "$run/status")', expected resume"
cp "$run/status" "$work/status"
trained=$(lines_of checkpointed)
call_must_succeed report
grep -q 'not evaluated yet' "$run/report.html" && grep -q 'not probed yet' "$run/report.html" ||
  fail "the report does not say what is not there"
[ "$(lines_of checkpointed)" -eq "$trained" ] && [ ! -e "$run/saes/small/evaluation.json" ] || fail "report trained"
cmp "$work/status" "$run/status" || fail "report changed the status of the run"
passed "a stopped run is reported as it is"
