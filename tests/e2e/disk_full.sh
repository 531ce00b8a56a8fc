#!/usr/bin/env bash
# disk_full.sh REFRACT SOURCE: run and data_root on a file system that is too small, which grows by a little after each
# start, on one rank and on two by turns. Each start ends with code 4 and one line that says what to do, whatever the
# disk was full for; the last ends with the bytes of a run with room. Skips where tmpfs cannot be mounted.
source "$(dirname "$0")/common.sh"
begin "$@"
export OMP_NUM_THREADS=1
export OMPI_MCA_odls_base_sigkill_timeout=0  # mpirun waits 1 s for ranks that it ends

disk=$work/small
mkdir -p "$disk"
size=96  # KiB
if ! mount -t tmpfs -o size=${size}k tmpfs "$disk" 2>/dev/null; then
  echo "skipped: a full disk on a small file system (mount is not allowed here)"
  trap - EXIT
  rm -rf "$work"
  exit 77  # ctest shows it as skipped
fi
trap 'code=$?; umount "$disk"; finish $code' EXIT

tiny whole
call_must_succeed run
fingerprint >"$work/whole.sums"

tiny small; run=$disk/run data=$disk/data; settings+=(--set run="$run" --set data_root="$data")
starts=0
while true; do
  starts=$((starts + 1))
  [ $size -lt $((1 << 20)) ] || fail "1 GiB is not enough"
  "$refract" run "$config" "${settings[@]}" --ranks $((starts % 2 + 1)) >"$log" 2>&1
  code=$?
  [ $code -ne 0 ] || break
  [ $code -eq 4 ] || { tail -5 "$log"; fail "on $size KiB a start ended with $code, expected 4"; }
  [ "$(grep -c '^refract\[' "$log")" -eq 1 ] || { cat "$log"; fail "on $size KiB: not one line of cause"; }
  grep '^refract\[' "$log" | grep -q 'disk full while .*: free space there, or .*start again' ||
    { cat "$log"; fail "on $size KiB: the line does not say what to do"; }
  echo "$size KiB: $(grep -o 'disk full while [^:]*' "$log")"
  size=$((size < 2048 ? size * 3 / 2 : size * 9 / 8))
  mount -o remount,size=${size}k "$disk" || fail "the file system cannot grow"
done
[ $starts -ge 10 ] || fail "only $starts starts: the file system grows by too much"
expect_same_bytes "$work/whole.sums" "after $((starts - 1)) starts on a full disk, on $size KiB"
