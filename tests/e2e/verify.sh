#!/usr/bin/env bash
# verify.sh REFRACT SOURCE PACKING SWAP_ROWS: probe --verify agrees with a store that is right, and names what is
# wrong with one whose rows were exchanged, with their checksums rewritten.
source "$(dirname "$0")/common.sh"
begin "$@"
packing=$3
swap_rows=$4

shrink "$packing" tokens.packing="$packing"
call_must_succeed run
call_must_succeed probe --verify
passed "$packing: $(tail -1 "$log")"

chunk=$(echo "$run"/*_activations/chunk-000001.h5)
cp "$chunk" "$work/chunk.h5"
for what in identity activations; do
  "$swap_rows" "$what" "$chunk" 3 200 || fail "could not exchange $what"
  expect_error 3 'chunk-000001' "$packing: two exchanged rows of $what are found" \
    "$refract" probe --verify "$config" "${settings[@]}"
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
