#!/usr/bin/env bash
# Installs the Debian packages that refract is built from. A second run finds them and does nothing.
set -euo pipefail

packages=(
  build-essential cmake ninja-build ccache pkg-config git ca-certificates
  openmpi-bin libopenmpi-dev libhdf5-openmpi-dev
  libopenblas-dev liblapacke-dev
  libyaml-cpp-dev libboost-program-options-dev libfmt-dev nlohmann-json3-dev libsimdjson-dev
  libcurl4-openssl-dev zlib1g-dev libbz2-dev liblzma-dev libzstd-dev libxxhash-dev libssl-dev libicu-dev
  libgtest-dev libgmock-dev libbenchmark-dev clang-format
  python3 python3-venv)

usage() {
  cat <<TEXT
usage: bash jobs/setup.sh [--check] [--help]

Installs what refract needs from Debian (12 or newer) or Ubuntu (22.04 or newer):
  ${packages[*]}

It works as root, and as a user who may use sudo. Installed packages are left alone.
  --check   only say what is missing; exit 1 when something is
  --help    this text
Without root and without sudo, build from your site's modules: docs/howto/build-on-a-cluster.md
TEXT
}

check_only=false
for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
    --check) check_only=true ;;
    *) echo "jobs/setup.sh: unknown argument '$argument'; --help lists what is allowed" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "jobs/setup.sh: this machine has no apt; refract needs what these Debian packages hold:" >&2
  printf '  %s\n' "${packages[@]}" >&2
  echo "Load or build them, then run with --no-install, or use 'cmake --preset cluster'" \
    "(docs/howto/build-on-a-cluster.md)." >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} Debian packages are installed"
  exit 0
fi
echo "setup: ${#missing[@]} of ${#packages[@]} Debian packages are missing: ${missing[*]}"
if $check_only; then
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  # With a terminal sudo may ask for a password; without one it must not hang.
  ask=()
  [ -t 0 ] || ask=(-n)
  if ! command -v sudo >/dev/null || ! sudo "${ask[@]}" -v 2>/dev/null; then
    {
      echo "jobs/setup.sh: cannot install packages: you are not root and sudo is not available to you."
      echo "Ask an administrator to run this, then start again:"
      echo "  apt-get install ${missing[*]}"
      echo "Or build from your site's modules: docs/howto/build-on-a-cluster.md"
    } >&2
    exit 1
  fi
  as_root=(sudo "${ask[@]}")
fi

step() {
  echo "setup: $*"
  "$@"
}
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
step "${apt[@]}" update
step "${apt[@]}" install --no-install-recommends "${missing[@]}"
echo "setup: done"
