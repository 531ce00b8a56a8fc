#!/usr/bin/env bash
# python.sh SCRIPT [ARGUMENTS...]: runs a test with the oracles' Python where setup.sh installed one, else
# with the system's.
set -eu
python=${REFRACT_VENV:-$REFRACT_VENV_DEFAULT}/bin/python
[ -x "$python" ] || python=python3
exec "$python" "$@"
