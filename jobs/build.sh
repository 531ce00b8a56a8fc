#!/usr/bin/env bash
# build.sh PRESET [TARGET...]: configures when needed and builds, in parallel. What it runs, it prints.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -lt 1 ] || [ "$1" = --help ]; then
  echo "usage: bash jobs/build.sh PRESET [TARGET...]    ('cmake --list-presets' lists the presets)"
  [ $# -ge 1 ]
  exit
fi
preset=$1
shift

step() {
  echo "build: $*"
  "$@"
}
step cmake --preset "$preset"
step cmake --build --preset "$preset" --parallel "$(nproc)" ${1:+--target "$@"}
