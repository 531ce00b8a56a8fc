#!/usr/bin/env bash
# A second job on the same run directory is refused, and the first one is named and not disturbed.
source "$(dirname "$0")/common.sh"
# one_owner.sh REFRACT SOURCE [NO_LOCKS]: with that library in front no file system has locks.
begin "$1" "$2"
no_locks=${3:-}
if [ -n "$no_locks" ]; then
  export NO_LOCKS_LOG=$work/refused LD_PRELOAD=$no_locks ASAN_OPTIONS=verify_asan_link_order=0
fi

shrink owned
"$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
owner=$!
wait_until $owner begun
kill -STOP $owner  # it lives, and cannot end before the second one has looked
expect_error 4 "$owner" "a second job is refused, naming the owner" "$refract" run "$config" "${settings[@]}"
kill -CONT $owner
wait $owner || { tail -5 "$log"; fail "the owner was disturbed"; }
passed "the owner finishes"

shrink stale
mkdir -p "$run"
"$refract" run "$config" "${settings[@]}" >"$log" 2>&1 &
owner=$!
wait_until $owner begun
kill -9 $owner
wait $owner 2>/dev/null
call_must_succeed run
passed "the lock of a killed job does not stop the next one"

if [ -n "$no_locks" ]; then
  [ -s "$NO_LOCKS_LOG" ] || fail "no lock was asked for: the library is not in front"
  passed "all that without locks: $(stat -c %s "$NO_LOCKS_LOG") were refused"
fi
