#!/usr/bin/env bash
# scripts.sh SOURCE: bash reads every script of the project, and shellcheck finds nothing at level `warning`.
# Exits 77 where shellcheck is absent, after bash has read them.
set -u
cd "$1" || exit 1
mapfile -t scripts < <(find .ci jobs tests -path tests/data -prune -o -type f \( -name '*.sh' -o -name '*.sbatch' -o -path .ci/run \) -print | sort)
[ ${#scripts[@]} -gt 20 ] || { echo "only ${#scripts[@]} scripts were found in $1"; exit 1; }
for script in "${scripts[@]}"; do bash -n "$script" || exit 1; done
echo "bash reads ${#scripts[@]} scripts"
command -v shellcheck >/dev/null || { echo "skipped: shellcheck is not installed (Debian: apt-get install shellcheck)"; exit 77; }
# SC2154, SC2034: variables that a test shares with the common.sh it sources.
shellcheck -x -S warning jobs/*.sh jobs/*.sbatch && shellcheck -S warning -e SC2154,SC2034 tests/slurm/*.sh && echo "shellcheck finds nothing in jobs and tests/slurm"
