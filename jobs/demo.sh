#!/usr/bin/env bash
# From a fresh machine to the demo's report: packages, build, run. Start it again at any time; what is
# done is not done twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: bash jobs/demo.sh [--no-install] [--preset NAME] [--help] [refract options...]

1. installs the Debian packages that are missing (jobs/setup.sh)
2. builds refract in build/default
3. runs configs/demo.yaml: the Wikipedia sample and the language model in configs/demo, on the CPU, about
   two minutes on two cores
4. prints where the report is; open it in any browser

  --no-install    take what is installed: skip step 1
  --preset NAME   build with another preset of CMakePresets.json
  --help          this text
Everything else goes to 'refract run', for example --set saes.0.k=8, --dry-run or --print-config.
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
      [ $# -ge 2 ] || { echo "jobs/demo.sh: --preset needs a name ('cmake --list-presets' lists them)" >&2; exit 2; }
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
bash jobs/build.sh "$preset" refract
run=(build/"$preset"/src/app/refract run configs/demo.yaml "${options[@]}")
echo "demo: ${run[*]}"
exec "${run[@]}"
