#!/usr/bin/env bash
# The research log's table (configs/studies/research-log.yaml, shortened): what each row was asked, and the trends that
# the log found, in what was measured now; docs/studies/research-log.md has the whole.
source "$(dirname "$0")/common.sh"
begin "$@"

config=configs/studies/research-log.yaml
run=$work/run
log=$work/log
settings=(--set run="$run" --set data_root="$work/data" --set store.chunk_rows=32768 --set train.tokens=32768
  --set train.passes_per_chunk=3 --set heldout.rows=16384)

expect_error 2 "does not exist: give the folder of a run" "no table of a run that is not there" "$refract" table "$run"
call_must_succeed evaluate --dry-run
grep -q "^Recipe     log: " "$log" || { cat "$log"; fail "the plan does not name the recipe"; }
passed "the plan names the recipe"
call_must_succeed extract
expect_error 3 "evaluated" "no table before an SAE was evaluated" "$refract" table "$run"

call_must_succeed evaluate
"$refract" table "$run" >"$work/table.md" || fail "refract table"
"$refract" table "$run" --csv >"$work/table.csv" || fail "refract table --csv"
tail -n 10 "$log" | diff - "$work/table.md" || fail "refract evaluate does not end with the table"
cat "$work/table.md"
passed "refract evaluate ends with the table that refract table prints"

python3 - "$work/table.csv" <<'PY' || fail "the table is not what the log's trends ask for"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
headings = ("codeDimsMultiplier l1Strength epochs batchSize topkFeatures learningRate modelDims codeDims MSE R^2 density "
            "dead_rate Gini cosine_mean p95 max mean_active SAE")
assert [heading.replace(" ", "_") for heading in rows[0]] == headings.split(), list(rows[0])

asked = [(row["topkFeatures"], float(row["l1Strength"])) for row in rows]
assert asked == [("none", 0.01), ("20", 0.01), ("40", 0.01), ("60", 0.01), ("60", 0), ("60", 1e-4), ("60", 3e-4), ("60", 1e-3)], asked
for row in rows:
    assert [row[key] for key in ("codeDimsMultiplier", "epochs", "batchSize", "learningRate", "modelDims", "codeDims")] == \
        ["4", "3", "256", "0.001", "256", "1024"], row

of = lambda key: [float(row[key]) for row in rows]
mse, dead, gini, density, active = of("MSE"), of("dead rate"), of("Gini"), of("density"), of("mean active")
variance = [m / (1 - r2) for m, r2 in zip(mse, of("R^2"))]
assert max(variance) - min(variance) < 1e-6 * variance[0], variance
for row, d, a in zip(rows, density, active):
    assert abs(d * 1024 - a) < 1e-9, row
    if row["topkFeatures"] != "none":
        assert a == float(row["topkFeatures"]), row
assert density[0] > 0.3, "L1 0.01 alone stays dense: %g" % density[0]
assert mse[0] < mse[3] < mse[2] < mse[1], mse
assert gini[1] > gini[2] > gini[3] > gini[0], gini
assert dead[1] >= dead[2] >= dead[3] >= dead[0] == 0, dead
for g, p in zip(gini, dead):
    assert g >= p
under_topk = range(3, 8)
spread = lambda values: max(values[i] for i in under_topk) - min(values[i] for i in under_topk)
assert spread(mse) < 0.02 * mse[3] and spread(dead) < 0.02 and spread(gini) < 0.02, "L1 is no knob under TopK"
PY
passed "density is topk / codeDims, Gini falls with topk, L1 changes nothing under TopK and alone stays dense"

# Encoders that begin away from the activations' centre let features die, as the log's did.
settings+=(--set run="$work/zero" --set saes.*.b_dec=zero)
call_must_succeed evaluate
"$refract" table "$work/zero" --csv >"$work/zero.csv" || fail "refract table of the run from zero"
python3 - "$work/zero.csv" <<'PY' || fail "features do not die less with more of them active"
import csv, sys
dead = [float(row["dead rate"]) for row in csv.DictReader(open(sys.argv[1]))]
print("dead rate", dead[1:4])
assert dead[1] > dead[2] > dead[3] > 0, dead
PY
passed "from b_dec zero features die, the fewer the more of them are active"
