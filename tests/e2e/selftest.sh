#!/bin/bash
# refract selftest --truth as a user calls it: it learns here, says so to people and programs, and stops when told.
source "$(dirname "$0")/common.sh"
begin "$@"

"$refract" selftest >"$work/short" 2>&1 || { cat "$work/short"; fail "refract selftest"; }
grep -q "products: passed" "$work/short" || fail "refract selftest does not say what passed"
passed "without --truth it checks products, in a moment"

"$refract" selftest --truth >"$work/table" 2>&1 || { cat "$work/table"; fail "refract selftest --truth"; }
mapfile -t variants < <(sed -n 's/^ *{"\([a-z]*\)", make_.*/\1/p' src/sae/variant_table.cpp)
[ ${#variants[@]} -gt 0 ] || fail "no variant in src/sae/variant_table.cpp"
for dictionary in random "${variants[@]}" oracle; do
  grep -q "^$dictionary  " "$work/table" || fail "the table has no row $dictionary"
done
grep -q "^passed" "$work/table" || fail "the table does not say passed"
cat "$work/table"
passed "training learns, and a table shows it"

"$refract" selftest --truth --json --ranks 2 >"$work/json" 2>"$work/err" || { cat "$work/err"; fail "with --ranks 2"; }
python3 - "$work/json" "$work/table" "${variants[@]}" <<'PY' || fail "two ranks say something else than one"
import json, sys
found = json.load(open(sys.argv[1]))
assert found["passed"] is True
rows = {line.split()[0]: line.split()[1:] for line in open(sys.argv[2]) if len(line.split()) == 8}
for row in found["dictionaries"]:
    shown = [f"{row['l0']:.2f}"] + [f"{row[key]:.3f}" for key in ("r2", "precision", "recall", "f1", "uniqueness", "mcc")]
    assert rows[row["name"]] == shown, (row, rows[row["name"]])
assert [row["name"] for row in found["dictionaries"]] == ["random", *sys.argv[3:], "oracle"]
PY
passed "two ranks print the same numbers as one, as JSON and nothing beside it"

"$refract" selftest --truth >"$work/stopped" 2>&1 &
pid=$!
until grep -qs "measure planted" "$work/stopped"; do
  kill -0 $pid 2>/dev/null || fail "it ended before it began"
  sleep 0.02
done
kill -TERM $pid
wait $pid
[ $? -eq 85 ] || { cat "$work/stopped"; fail "a TERM did not end it with 85"; }
grep -q "^refract\[0\].*stopped by SIGTERM" "$work/stopped" || { cat "$work/stopped"; fail "it does not say why it stopped"; }
passed "it stops when told, with 85"

expect_error 2 "has no option --set" "it takes no settings" "$refract" selftest --set a=1
