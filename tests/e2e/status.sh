#!/usr/bin/env bash
# `refract status`: what it says of a run that is held still, stopped, stuck, failed, killed and done; a table; --watch;
# --json; files that are damaged; a user who may only read.
source "$(dirname "$0")/common.sh"
begin "$@"

# The process that is held still must not stay behind when a check fails.
held=
trap 'code=$?; [ -z "$held" ] || kill -9 $held 2>/dev/null; finish $code' EXIT

status() { "$refract" status "$@"; }

# says PATTERN WHAT ARGUMENTS...: status ends with 0 and says it.
says() {
  local pattern=$1 what=$2
  shift 2
  status "$@" >"$work/said" 2>"$work/said.err" || { cat "$work/said" "$work/said.err"; fail "$what: status ended with $?"; }
  grep -qE "$pattern" "$work/said" || { cat "$work/said"; fail "$what: status does not say '$pattern'"; }
  passed "$what: $(grep -m1 -E "$pattern" "$work/said")"
}

# field RUN EXPRESSION: of the run's entry in --json, by Python's json alone.
field() {
  status "$1" --json | python3 -c 'import json, sys
run = json.load(sys.stdin)["runs"][0]
print(eval(sys.argv[1], {}, {"run": run}))' "$2"
}

expect_field() {
  local found
  found=$(field "$1" "$2")
  [ "$found" = "$3" ] || fail "$4: $2 is '$found', expected '$3'"
  passed "$4: $2 is $3"
}

# Starts the run in the background, and holds it still once its progress.json shows the pattern.
hold_when() {
  "$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
  held=$!
  until cat "$run/progress.json" 2>/dev/null | tr -d '\n' | grep -qsE "$1"; do
    kill -0 $held 2>/dev/null || { tail -20 "$log"; fail "the run ended before progress.json said '$1'"; }
    sleep 0.005
  done
  kill -STOP $held
}

# Minutes of training on each chunk, so that the run is met while it goes on.
long=(train.passes_per_chunk=4000)

expect_error 2 'does not exist' "a folder that is not there" "$refract" status "$work/absent"
mkdir "$work/empty"
expect_error 2 'holds no run' "a folder without a run" "$refract" status "$work/empty"
expect_error 2 'none given' "no argument" "$refract" status

shrink held "${long[@]}"
hold_when '"what": "train 1 of 3",[^}]*"share"'
says "^$run +running +attempt 1 of job pid-$held on [^ ]+, 1 rank\$" "a run held still by SIGSTOP" "$run"
says '^  stage +train 1 of 3 \([0-9]+ %\), whole run [0-9]+ %$' "its stage" "$run"
says '^  rate +[0-9.]+( k| M)? rows/s; about .* until trained$' "its rate" "$run"
says '^  disk +.* of 2\.0 GiB \(disk\.max_bytes\); file system: ' "its disk" "$run"
says "^  log +$log\$" "its log" "$run"
expect_field "$run" 'run["state"], run["goes_on"], run["attempt"]' "('running', True, 1)" "as JSON"
expect_field "$run" '0 < run["share"] < 1 and run["now"][0]["rate"] > 0 and run["now"][0]["unit"]' 'rows/s' "as JSON"

# As another machine would see it: the owner's boot is another, and the queue knows nothing of a job without Slurm.
cp -r "$run" "$work/elsewhere"
sed -i 's/ boot [^ ]* / boot another-one /' "$work/elsewhere/run.lock"
says 'last sign of life .* by this host.s clock' "from another machine nothing decides" "$work/elsewhere"
expect_field "$work/elsewhere" 'run["state"]' running "and no crash is said"
mkdir "$work/bin"
printf '#!/bin/sh\necho "$@" >>"%s"\ncat "%s"\n' "$work/asked" "$work/answer" >"$work/bin/squeue"
chmod +x "$work/bin/squeue"
sed -i 's/ job [^ ]* / job slurm-4711 /' "$work/elsewhere/run.lock"
sed -i 's/^running [^ ]* /running slurm-4711 /' "$work/elsewhere/status"
for answer in RUNNING PENDING ''; do
  echo "$answer" >"$work/answer"
  [ -n "$answer" ] || : >"$work/answer"
  found=$(PATH="$work/bin:$PATH" field "$work/elsewhere" 'run["state"], run["goes_on"]')
  case $answer in
    RUNNING) expected="('running', True)" ;;
    PENDING) expected="('crashed', True)" ;;
    *) expected="('crashed', False)" ;;
  esac
  [ "$found" = "$expected" ] || fail "squeue says '$answer': $found, expected $expected"
  passed "squeue says '$answer': $found"
done
grep -q -- '-j 4711' "$work/asked" || fail "squeue was not asked for the job"
printf '#!/bin/sh\nsleep 1000 & wait\n' >"$work/bin/squeue"
PATH="$work/bin:$PATH" says 'last sign of life' "a squeue that hangs does not hang status" "$work/elsewhere"

# A user who may only read.
if [ "$(id -u)" -eq 0 ] && setpriv --help >/dev/null 2>&1; then
  chmod 755 "$work" "$work/held"
  chmod -R a+rX,go-w "$run"
  chmod 711 "$(dirname "$work")" 2>/dev/null || true
  cp "$refract" "$work/refract"
  if setpriv --reuid 65534 --regid 65534 --clear-groups test -r "$run/status"; then
    setpriv --reuid 65534 --regid 65534 --clear-groups "$work/refract" status "$run" >"$work/said" 2>&1 ||
      { cat "$work/said"; fail "status ended with $? for a user who may only read"; }
    grep -qE "^$run +running " "$work/said" || { cat "$work/said"; fail "a user who may only read is told otherwise"; }
    ! grep -q problem "$work/said" || { cat "$work/said"; fail "a user who may only read is told of a problem"; }
    passed "a user who may only read"
  else
    echo "skipped: a user who may only read (the temporary folder is closed to others)"
  fi
fi

kill -TERM $held
kill -CONT $held
wait $held
code=$?
held=
[ $code -eq 85 ] || { tail -5 "$log"; fail "SIGTERM ended the run with $code, expected 85"; }
says "^$run +stopped " "a run that was stopped" "$run"
says '^  cause +stopped by SIGTERM' "why" "$run"
says '^  stage +train 1 of 3 \([0-9]+ %\), whole run ' "where" "$run"
hold_when '"attempt": 2,'
kill -9 $held
wait $held 2>/dev/null
held=
says "^$run +crashed +attempt 2 " "a run that was killed" "$run"
says '^  cause +attempt 2 ended without saying how: .*start the same command again' "what to do" "$run"
expect_field "$run" 'run["state"], run["goes_on"]' "('crashed', False)" "as JSON"

# An older run has no progress.json: the ledger tells how far it is.
mv "$run/progress.json" "$work/progress.json"
says '^  stage +extract 1 of 3, train 0 of 3, evaluate 0 of 2, probe 0 of 2, whole run ' "without progress.json" "$run"
says '^  disk +.* in chunks of 2\.0 GiB' "its disk" "$run"
mv "$work/progress.json" "$run/progress.json"
stopped=$run

# --watch without a terminal: a line when something changes, and it ends when the run does.
shrink done
hold_when '"attempt": 1,'
status "$run" --watch >"$work/watched" 2>&1 &
watcher=$!
until grep -q running "$work/watched"; do
  kill -0 $watcher 2>/dev/null || { cat "$work/watched"; fail "--watch ended before the run"; }
  sleep 0.02
done
kill -CONT $held
wait $held || { tail -5 "$log"; fail "the run ended with $?"; }
held=
wait $watcher || fail "--watch ended with $?"
tail -1 "$work/watched" | grep -q ' done ' || { cat "$work/watched"; fail "--watch did not end with the run"; }
passed "--watch ended by itself after $(wc -l <"$work/watched") lines"
says "^$run +done " "a run that is done" "$run"
says '^  stage +run is done$' "what is done" "$run"
says '^  rate +.*train [0-9.]+( k| M)? rows/s, in its last attempt' "the last rate" "$run"
expect_field "$run" 'run["state"], run["goes_on"], run["share"]' "('done', False, 1.0)" "as JSON"
grep -q '"ended": true' "$run/progress.json" || fail "progress.json is not marked ended"
expect_field "$run" 'run["disk"]["classes"]["chunks"] > 0 and run["stages"]["probe"]' "{'done': 2, 'of': 2}" "as JSON"

# Failed, and stuck.
shrink failed train.tokens=10_000_000 disk.max_bytes=1TiB
call run && fail "a corpus that is too short was trained on"
says "^$run +failed \(exit code 3\)" "a run that failed" "$run"
says '^  cause .*train\.tokens' "why" "$run"
failed=$run
shrink stuck
mkdir -p "$run"
echo "stuck pid-7 1 85 stopped by SIGTERM before anything was made" >"$run/status"
says "^$run +stuck " "a run that is stuck" "$run"
stuck=$run

# A table, in which one ledger is damaged and one progress.json is none.
cp -r "$stopped" "$work/damaged"
sed -i '2s/.*/nonsense/' "$work/damaged/ledger.jsonl"
echo '{' >"$work/damaged/progress.json"
says '^4 runs: 1 stuck, 1 failed, 2 crashed$' "a table" "$stopped" "$failed" "$stuck" "$work/damaged"
[ "$(grep -c "^problem in $work/damaged: " "$work/said")" -eq 2 ] || { cat "$work/said"; fail "not a line for each damaged file"; }
[ "$(grep -v ^problem "$work/said" | awk '{ if (length > 100) n++ } END { print n + 0 }')" -eq 0 ] || fail "the table is wider than 100 columns"
passed "a line for each damaged file, the others as they are"
mkdir "$work/sweep"
cp -r "$stopped" "$work/sweep/a"
cp -r "$failed" "$work/sweep/b"
mkdir "$work/sweep/no-run"
says '^2 runs: 1 failed, 1 crashed$' "the runs in a folder" "$work/sweep/"
status "$work/sweep" --json | python3 -c 'import json, sys
page = json.load(sys.stdin)
assert page["schema"] == "refract.status" and [run["state"] for run in page["runs"]] == ["crashed", "failed"], page' ||
  fail "--json of a folder of runs"
passed "--json of a folder of runs"
status "$work/sweep" --watch >"$work/watched" || fail "--watch of runs that have ended returned $?"
[ "$(wc -l <"$work/watched")" -eq 2 ] || { cat "$work/watched"; fail "--watch of two runs that have ended"; }
passed "--watch of runs that have ended ends at once"

# A configuration means its run.
"$refract" run "$config" "${settings[@]}" --set run="$failed" --print-config >"$work/config.yaml"
says "^$failed +failed" "a configuration" "$work/config.yaml"
