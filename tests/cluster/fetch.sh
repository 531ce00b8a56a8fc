#!/usr/bin/env bash
# fetch.sh REFRACT SOURCE BUILD CMAKE: what cmake/Fetch.cmake refuses, and what it says. Nothing is built or fetched.
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/common.sh"
begin "$@"
build=$3 cmake=$4

# fetch OPTION...: refract_fetch in a build folder of its own; no network, whatever this machine has.
fetch() {
  rm -rf "$work/build"
  mkdir -p "$work/build"
  https_proxy=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9 "$cmake" -D SOURCE="$PWD" \
    -D PROJECT_BINARY_DIR="$work/build" -D CALL=fetch "$@" -P tests/cluster/fetch.cmake >"$work/out" 2>&1
  code=$?
  # As one line: cmake breaks its messages.
  said=$(tr -s '\n ' '  ' <"$work/out")
}

must_refuse() {
  local what=$1 pattern
  shift
  [ $code -ne 0 ] || { cat "$work/out"; fail "$what: cmake succeeded"; }
  for pattern in "$@"; do
    grep -qE -- "$pattern" <<<"$said" || { cat "$work/out"; fail "$what: the message does not say '$pattern'"; }
  done
  [ "$(grep -c 'CMake Error' "$work/out")" -eq 1 ] || { cat "$work/out"; fail "$what: not one message"; }
  ! grep -q 'refract: building' "$work/out" || fail "$what: something was built"
  passed "$what"
}

libraries=$(grep -c '^refract_library(' cmake/fetch/libraries.cmake)
[ "$libraries" -ge 15 ] || fail "the table has only $libraries libraries"

mkdir "$work/mirror"
fetch -D NAMES=all -D REFRACT_DEPS_MIRROR="$work/mirror"
must_refuse "an empty mirror: one message with every archive" "$libraries source archives are missing \(not in $work/mirror\)" \
  "REFRACT_DEPS_MIRROR=<that folder>"
[ "$(grep -c 'curl -fL -o [^ ]* https://' "$work/out")" -eq "$libraries" ] || fail "not one command for each library"
[ "$(grep -cE 'sha256 [0-9a-f]{64}$' "$work/out")" -eq "$libraries" ] || fail "not one digest for each library"
passed "each with its URL and digest"

fetch -D NAMES=all
must_refuse "no network and no mirror: the same message" "$libraries source archives are missing \(not reached by network\)"
[ "$(grep -c 'refract: fetching' "$work/out")" -eq 1 ] || fail "each archive was tried although there is no network"
passed "after one attempt"

archive=$(grep -oE '^ +bzip2_[^ ]+' cmake/fetch/libraries.cmake | tr -d ' ')
digest=$(grep -A1 -F "$archive" cmake/fetch/libraries.cmake | tail -1 | tr -d ' ')
echo "not the archive" >"$work/mirror/$archive"
fetch -D NAMES=bzip2 -D REFRACT_DEPS_MIRROR="$work/mirror"
must_refuse "other bytes than are pinned" "$work/mirror/$archive is not the archive of bzip2 that is pinned" \
  "its SHA-256 is $(sha256sum "$work/mirror/$archive" | cut -d' ' -f1), expected $digest"

# An archive that is as pinned, and cannot be built.
echo sample >"$work/README"
tar -C "$work" -czf "$work/mirror/sample.tar.gz" ./README
fetch -D NAMES=unheard-of -D SAMPLE="$work/mirror/sample.tar.gz" -D REFRACT_DEPS_MIRROR="$work/mirror"
log=$work/build/deps-build/unheard-of.log
[ $code -ne 0 ] || fail "a failed build: cmake succeeded"
grep -qE "unheard-of 1 could not be built \(exit code 127\); the last lines of $log say why" <<<"$said" ||
  { cat "$work/out"; fail "a failed build: the message does not name its log"; }
grep -q 'unheard-of: command not found' "$log" || fail "the log does not say why"
passed "a failed build names its log"
state() {
  "$cmake" -D SOURCE="$PWD" -D PROJECT_BINARY_DIR="$work/build" -D SAMPLE="$work/mirror/sample.tar.gz" -D CALL=state "$@" \
    -P tests/cluster/fetch.cmake
}
state | grep -q "built: '' outdated: 'unheard-of'" || fail "what was begun counts as built"
passed "what was begun counts as missing"

# The same with a recipe for it.
echo 'echo a library' >"$work/recipe.sh"
fetch -D NAMES=unheard-of -D SAMPLE="$work/mirror/sample.tar.gz" -D SCRIPT="$work/recipe.sh" -D REFRACT_DEPS_MIRROR="$work/mirror"
[ $code -eq 0 ] && grep -q 'refract: built unheard-of' <<<"$said" || { cat "$work/out"; fail "a library that can be built was not"; }
state -D SCRIPT="$work/recipe.sh" | grep -q "built: 'unheard-of' outdated: ''" || fail "what was built counts as missing"
state -D SCRIPT="$work/recipe.sh" -D CMAKE_CXX_COMPILER_VERSION=99 | grep -q "outdated: 'unheard-of'" ||
  fail "what another compiler built counts as built"
echo 'echo another' >"$work/recipe.sh"
state -D SCRIPT="$work/recipe.sh" | grep -q "outdated: 'unheard-of'" || fail "what another recipe built counts as built"
passed "what was built counts until compiler or recipe change"

# Which MPI an HDF5 was built with.
kind() {
  "$cmake" -D SOURCE="$PWD" -D CALL=mpi_of_hdf5 -D NAMES="$1" -P tests/cluster/fetch.cmake
}
printf 'H5FD_mpio\0MPI_File_open\0' >"$work/libhdf5.so"
kind "$work/libhdf5.so" | grep -q "kind: 'MPICH'" || fail "an HDF5 on MPICH is not recognised"
printf 'MPI_File_open\0ompi_mpi_byte\0' >"$work/libhdf5.a"
kind "$work/libhdf5.a" | grep -q "kind: 'Open MPI'" || fail "an HDF5 on Open MPI is not recognised"
printf 'H5Fopen\0' >"$work/libhdf5_serial.so"
kind "$work/libhdf5_serial.so" | grep -q "kind: ''" || fail "a serial HDF5 is taken for a parallel one"
passed "the MPI of an HDF5 is read from its library"
hdf5=$(grep -aoE '[^ ;=]*libhdf5[^ ;]*\.so' "$build/CMakeCache.txt" | head -1)
if [ -e "$hdf5" ]; then
  mine=MPICH
  grep -q '^REFRACT_MPI_IS_OPEN_MPI:INTERNAL=1' "$build/CMakeCache.txt" && mine="Open MPI"
  kind "$hdf5" | grep -q "kind: '$mine'" || fail "$hdf5 is not recognised as built with $mine"
  passed "the one found here was built with $mine"
fi
