#!/usr/bin/env bash
# All tests, from a fresh machine: packages, build, ctest. Start it again at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: bash tests/run.sh [--no-install] [--preset NAME] [--help] [ctest options...]

1. installs the Debian packages that are missing (jobs/setup.sh)
2. builds refract and its tests in build/default
3. runs them with ctest, which ends with the time of each label and a summary

  --no-install    take what is installed: skip step 1
  --preset NAME   build with another preset of CMakePresets.json
  --help          this text
Everything else goes to ctest, for example -L unit, or -R tokenizer. Labels: unit, mpi, emulated, gpu, e2e, kill, slurm,
scale, lint, interop, and long, which runs only where options are given (docs/testing.md). Interop tests skip where their
Python oracle is absent, slurm tests where Slurm is; tests/interop/setup.sh and tests/slurm/setup.sh install them.
TEXT
}

install=true
preset=default
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --no-install) install=false ;;
    --preset)
      [ $# -ge 2 ] || { echo "tests/run.sh: --preset needs a name ('cmake --list-presets' lists them)" >&2; exit 2; }
      preset=$2
      shift
      ;;
    *) options+=("$1") ;;
  esac
  shift
done

if $install; then
  bash jobs/setup.sh
fi
bash jobs/build.sh "$preset"
[ ${#options[@]} -gt 0 ] || options=(-LE '^long$')
test=(ctest --test-dir build/"$preset" --output-on-failure --parallel "$(nproc)" "${options[@]}")
echo "tests: ${test[*]}"
exec "${test[@]}"
