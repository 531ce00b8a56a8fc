#!/usr/bin/env bash
# The gpu tests on a machine that has a device but no build tools: bundle them here, run them there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'TEXT'
usage: bash tests/gpu/device_run.sh bundle [--lean] [BUILD_FOLDER [BUNDLE_FOLDER]]
       bash tests/gpu/device_run.sh run [BUNDLE_FOLDER]

bundle   copies the gpu tests of a build (default build/cuda-dev) and the shared libraries they need into a
         folder (default build/gpu-bundle), which is then copied to the device machine. Tests on several ranks
         stay behind: they need mpirun. --lean leaves out NVIDIA's libraries (most of a gigabyte), for a machine
         whose LD_LIBRARY_PATH has them
run      runs every test of the bundle (default: the folder of this script, which the bundle holds a copy of),
         prints one line for each and ends with a count; needs no tool but a driver. Exit code 1 when a test
         failed, or when none ran
TEXT
}

bundle() {
  local root=$here/../.. theirs='^$'
  if [ "${1:-}" = --lean ]; then
    theirs='/lib(cudart|cublas|cublasLt|nccl)\.so'
    shift
  fi
  local build=${1:-$root/build/cuda-dev} folder=${2:-$root/build/gpu-bundle}
  local tests=()
  while IFS= read -r test; do tests+=("$test"); done < <(
    find "$build/tests/gpu" -type f -name 'gpu_*' ! -name '*_ranks' -executable 2>/dev/null | sort)
  if [ ${#tests[@]} -eq 0 ]; then
    echo "device_run.sh: no gpu tests in $build; build them with 'bash jobs/build.sh cuda-dev'" >&2
    exit 1
  fi
  rm -rf "$folder"
  mkdir -p "$folder/bin" "$folder/lib"
  local absent
  absent=$(ldd "${tests[@]}" | awk '/not found/ {print $1}' | sort -u | tr '\n' ' ')
  if [ -n "$absent" ]; then
    echo "device_run.sh: not found on this machine: $absent- set LD_LIBRARY_PATH to where the build found them" >&2
    exit 1
  fi
  cp "${tests[@]}" "$folder/bin"
  # The driver's libcuda and the C library belong to the machine that runs them.
  ldd "${tests[@]}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libcuda|libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' | grep -vE "$theirs" |
    xargs -r cp -L -t "$folder/lib"
  cp "$here/device_run.sh" "$folder"
  echo "device_run.sh: ${#tests[@]} tests and $(find "$folder/lib" -type f | wc -l) libraries in $folder" \
    "($(du -sh "$folder" | cut -f1))"
}

run() {
  local folder=${1:-$here} passed=0 failed=0 skipped=0
  log=$(mktemp)  # not local: the trap outlives this function
  trap 'rm -f "$log"' EXIT
  for test in "$folder"/bin/gpu_*; do
    [ -x "$test" ] || continue
    if ! LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$test" >"$log" 2>&1; then
      failed=$((failed + 1))
      echo "FAILED  $(basename "$test")"
      cat "$log"
      continue
    fi
    if grep -q '^\[  PASSED  \] 0 tests' "$log"; then
      skipped=$((skipped + 1))
      echo "skipped $(basename "$test")"
    else
      passed=$((passed + 1))
      echo "passed  $(basename "$test")"
    fi
    # Each skipped case by name, with its reason: the line after GoogleTest's "file:line: Skipped".
    awk '/: Skipped$/ {getline reason} /^\[  SKIPPED \] .*\(/ {print "        skipped " $4 ": " reason}' "$log"
  done
  echo "$passed passed, $failed failed, $skipped skipped"
  [ $failed -eq 0 ] && [ $passed -gt 0 ]
}

case ${1:---help} in
  bundle) shift; bundle "$@" ;;
  run) shift; run "$@" ;;
  --help | -h) usage ;;
  *) usage >&2; exit 2 ;;
esac
