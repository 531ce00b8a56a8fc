#!/usr/bin/env bash
# configs_parse.sh REFRACT SOURCE: every shipped configuration is read without complaint. Rules of advice are none:
# their test is tests/unit/metrics/advice_test.cpp.
set -u
refract=$1
cd "$2" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

count=0
failed=0
for config in configs/*.yaml configs/studies/*.yaml; do
  grep -q '^advice:' "$config" && continue
  count=$((count + 1))
  if ! message=$("$refract" run --print-config "$config" 2>&1 >/dev/null); then
    echo "$config: $message"
    failed=1
  fi
done
echo "$count configurations read"
[ $count -gt 0 ] && [ $failed -eq 0 ]
