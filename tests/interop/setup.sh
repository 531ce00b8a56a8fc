#!/usr/bin/env bash
# Installs the Python programs that the interop tests compare with, into a virtual environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

venv=${REFRACT_VENV:-build/interop-venv}
light=(numpy h5py tokenizers zstandard safetensors)
heavy=(torch transformers sae-lens eai-sparsify dictionary-learning)

usage() {
  cat <<TEXT
usage: bash tests/interop/setup.sh [--light] [--help]

Installs ${light[*]} and ${heavy[*]} with pip into
  $venv    (REFRACT_VENV names another place)
What is installed already is left alone. Each package that cannot be had is named; the tests that need it
then skip, by name, and the exit code is 1.
  --light   without ${heavy[*]} (several gigabytes)
TEXT
}

packages=("${light[@]}" "${heavy[@]}")
for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
    --light) packages=("${light[@]}") ;;
    *) echo "tests/interop/setup.sh: unknown argument '$argument'; --help lists what is allowed" >&2; exit 2 ;;
  esac
done

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
missing=()
for package in "${packages[@]}"; do
  if "$venv/bin/pip" show --quiet "$package" >/dev/null 2>&1; then
    continue
  fi
  echo "interop: pip install $package"
  "$venv/bin/pip" install --quiet --retries 1 "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "interop: could not be installed: ${missing[*]}" >&2
  exit 1
fi
echo "interop: ${packages[*]} are in $venv"
