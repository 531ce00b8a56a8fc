#!/usr/bin/env bash
# verify.sh REFRACT SOURCE PACKING SWAP_ROWS MPIEXEC: probe --verify agrees with a store that is right, and names what is
# wrong with one whose rows were exchanged, with their checksums rewritten. Three ranks
# say what one says.
source "$(dirname "$0")/common.sh"
begin "$@"
packing=$3
swap_rows=$4
mpiexec=$5

shrink "$packing" tokens.packing="$packing"
call_must_succeed run
call_must_succeed probe --verify
one=$(tail -1 "$log")
passed "$packing: $one"
on_three=(env OMP_NUM_THREADS=1 bash tests/support/mpi_launch.sh "$mpiexec" 3 "$refract" probe --verify "$config")
three=$("${on_three[@]}" "${settings[@]}" 2>"$work/three.err" | tail -1)
[ "$three" = "$one" ] || { cat "$work/three.err"; fail "$packing: three ranks say '$three', one says '$one'"; }
passed "$packing: three ranks verify what one does"

# same_on_three: the last error was that of one rank; three end with the same line.
same_on_three() {
  local alone
  alone=$(grep '^refract\[0\]' "$work/error.err")
  expect_error 3 'chunk-000001' "$1, on three ranks" "${on_three[@]}" "${settings[@]}"
  [ "$(grep '^refract\[0\]' "$work/error.err")" = "$alone" ] || fail "$1: one rank said '$alone'"
}

chunk=$(echo "$run"/*_activations/chunk-000001.h5)
cp "$chunk" "$work/chunk.h5"
for what in identity activations; do
  "$swap_rows" "$what" "$chunk" 3 200 || fail "could not exchange $what"
  expect_error 3 'chunk-000001' "$packing: two exchanged rows of $what are found" \
    "$refract" probe --verify "$config" "${settings[@]}"
  same_on_three "$packing: exchanged rows of $what"
  cp "$work/chunk.h5" "$chunk"
done

# One bit, without a new checksum.
size=$(stat -c %s "$chunk")
printf '\x5a' | dd of="$chunk" bs=1 seek=$((size - 5000)) conv=notrunc status=none
if cmp -s "$chunk" "$work/chunk.h5"; then
  printf '\xa5' | dd of="$chunk" bs=1 seek=$((size - 5000)) conv=notrunc status=none
fi
expect_error 3 'chunk-000001' "$packing: a changed byte is found" \
  "$refract" probe --verify "$config" "${settings[@]}"
same_on_three "$packing: a changed byte"
