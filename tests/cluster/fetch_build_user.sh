#!/usr/bin/env bash
# fetch_build_user.sh MIRROR SITE: called by fetch_build_site.sh; what the user of a cluster does, in $HOME/refract.
set -uo pipefail
mirror=$1 site=$2
cd "$HOME/refract" || exit 1

fail() {
  echo "FAILED: $*"
  exit 1
}
passed() { echo "ok: $* ($SECONDS s)"; }
# configure NAME OPTION...: cmake with the site's prefixes; what it says is in $HOME/NAME.log, and as one line in $said.
configure() {
  local log=$HOME/$1.log
  shift
  HDF5_ROOT=${hdf5:-$site/hdf5} cmake --preset cluster -DCMAKE_PREFIX_PATH="$site/lapack" "$@" >"$log" 2>&1
  code=$?
  said=$(tr -s '\n ' '  ' <"$log")
}
says() { grep -qE -- "$1" <<<"$said" || { tail -30 "$HOME"/*.log; fail "cmake does not say '$1'"; }; }
built() { grep -c 'refract: built' "$HOME/$1.log"; }

[ "$(id -u)" -ne 0 ] && [ ! -w /usr ] && ! touch /usr/bin/probe 2>/dev/null || fail "this user is not without rights"
passed "as $(id -un), who may not write to /usr"

configure bare -B "$HOME/bare"
[ $code -ne 0 ] || fail "cmake found what is hidden"
says 'missing: - zlib .* - simdjson .* -DREFRACT_FETCH=ON builds the small rest'
! grep -qE 'MPI \(mpicxx\)|- an HDF5|- HDF5|- LAPACKE' <<<"$said" || fail "the site's prefixes were not found"
passed "without REFRACT_FETCH one message lists what is missing; HDF5 and LAPACKE of the site are found"

if [ -d "$site/hdf5-mpich" ]; then
  hdf5=$site/hdf5-mpich configure mpich -B "$HOME/mpich" -DREFRACT_FETCH=ON -DREFRACT_DEPS_MIRROR="$mirror"
  [ $code -ne 0 ] || fail "an HDF5 of another MPI was taken"
  says 'an HDF5 built with Open MPI, the MPI found .* was built with MPICH'
  [ "$(built mpich)" -eq 0 ] || fail "libraries were built for a site that cannot be built on"
  passed "an HDF5 of another MPI is refused, before anything is built"
fi

# The URL of a Debian mirror.
cmake -D SOURCE="$PWD" -D PROJECT_BINARY_DIR="$HOME/by-url" -D CMAKE_C_COMPILER=gcc -D CMAKE_CXX_COMPILER=g++ \
  -D REFRACT_DEPS_MIRROR="$MIRROR_URL" -D CALL=fetch -D NAMES=xxhash -P tests/cluster/fetch.cmake >"$HOME/by-url.log" 2>&1
grep -q 'refract: fetching' "$HOME/by-url.log" && grep -q 'refract: built xxhash' "$HOME/by-url.log" ||
  { cat "$HOME/by-url.log"; fail "xxhash was not built from a mirror's URL"; }
passed "an archive is fetched by URL"

configure fetch -DREFRACT_FETCH=ON -DREFRACT_DEPS_MIRROR="$mirror"
[ $code -eq 0 ] || { tail -30 "$HOME/fetch.log"; fail "cmake --preset cluster -DREFRACT_FETCH=ON"; }
grep -oE 'refract: built .*' "$HOME/fetch.log"
[ "$(built fetch)" -eq 13 ] || fail "$(built fetch) libraries were built, expected 13"
passed "configured, 13 libraries built"

configure again
[ $code -eq 0 ] && [ "$(built again)" -eq 0 ] || fail "a second configure builds again"
passed "a second configure builds nothing"
echo begun >build/cluster/deps/share/refract-deps/xxhash
configure interrupted
[ $code -eq 0 ] && [ "$(built interrupted)" -eq 1 ] || fail "a library that was begun only is not built again"
passed "one that an interrupted configure left is built again, alone"

cmake --build --preset cluster --parallel "$(nproc)" >"$HOME/build.log" 2>&1 || { tail -30 "$HOME/build.log"; fail "cmake --build"; }
cmake --install build/cluster --prefix "$HOME/prefix" >"$HOME/install.log" 2>&1 || { cat "$HOME/install.log"; fail "cmake --install"; }
passed "built and installed"
rm -rf build

binary=$HOME/prefix/bin/refract
needed=$(readelf -d "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
echo "$binary needs:" $needed
! grep -E '^lib(z|bz2|lzma|zstd|xxhash|ssl|crypto|curl.*|icu.*|boost.*|fmt|yaml-cpp|simdjson)\.so' <<<"$needed" || fail "the binary links a hidden library"
! ldd "$binary" | grep 'not found' || fail "the binary lacks a library"
exported=$(nm -D --defined-only "$binary" | grep -E ' (inflate|EVP_|SSL_|curl_|BZ2_|lzma_|ZSTD_)' || true)
[ -z "$exported" ] || fail "the binary gives its libraries to others: $exported"
for library in zlib bzip2 xz zstd xxhash openssl curl icu boost fmt yaml-cpp nlohmann-json simdjson; do
  [ -n "$(ls "$HOME/prefix/share/doc/refract/licences/$library")" ] || fail "no licence of $library was installed"
  grep -q "^| $library |" "$HOME/prefix/share/doc/refract/licences/README.md" || fail "licences/README.md lacks $library"
done
passed "no hidden library is used, none is given away, each licence is there"

# The demo, from a copy of the prefix's configurations. The sources are gone.
cd "$HOME" && rm -rf refract && mkdir scratch && cd scratch && cp -r "$HOME/prefix/share/refract/configs" . || fail "no scratch"
[ "$("$binary" --version)" != "" ] || fail "refract --version"
settings=(--set source.from="file:configs/demo/shards/enwiki_namespace_0_0.jsonl.zst" --set calibration.rows=2048
  --set calibration.max_tokens=2048 --set heldout.rows=2048 --set store.chunk_rows=4096 --set store.block_rows=256
  --set train.tokens=12288 --set train.batch_rows=512 --set train.passes_per_chunk=2 --set saes.0.d_sae=256
  --set saes.0.k=8 --set saes.1.d_sae=512 --set saes.1.k=16 --set probe.tokens=4096 --set probe.examples=5)
"$binary" run configs/demo.yaml "${settings[@]}" >"$HOME/demo.log" 2>&1 || { tail -20 "$HOME/demo.log"; fail "the demo"; }
grep -q '<html' runs/demo/report.html || fail "the demo left no report"
passed "the demo ran from the prefix"
"$binary" run --ranks 2 configs/demo.yaml --set run=runs/two "${settings[@]}" >"$HOME/two.log" 2>&1 || { tail -20 "$HOME/two.log"; fail "two ranks"; }
passed "and on two ranks"
