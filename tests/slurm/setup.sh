#!/usr/bin/env bash
# Installs Debian's Slurm for the tests of tests/slurm. A second run finds it and does nothing.
set -euo pipefail

packages=(slurm-wlm shellcheck)
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || { echo "slurm setup: ${packages[*]} are installed"; exit 0; }
[ "$(id -u)" -eq 0 ] || { echo "slurm setup: only root can install ${missing[*]}; apt-get install ${missing[*]}" >&2; exit 1; }
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
"${apt[@]}" update
# Debian starts no daemon of a package where this says so; the tests start their own.
policy=/usr/sbin/policy-rc.d
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap 'rm -f $policy' EXIT; }
"${apt[@]}" install --no-install-recommends "${missing[@]}"
echo "slurm setup: done"
