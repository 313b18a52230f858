#!/usr/bin/env bash
# Run everything that must pass: environment, ruff, types, tests. Creates .venv if it does not exist.
# Usage: tools/run_tests.sh [arguments of pytest]      e.g. tools/run_tests.sh -k compat -x
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,3s/^# //p' "$0"; exit ;; esac
source "$(dirname "$0")/setup_env.sh"

say "ruff"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .

say "types (basedpyright, about 40 seconds)"
"$PYTHON" -m basedpyright --level error --pythonpath "$PYTHON"

# One thread for each process: on two cores, two workers with two threads each slow each other down.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MPLBACKEND=Agg
say "pytest"
exec "$PYTHON" -m pytest -q -n "${WORKERS:-2}" --dist loadfile "$@"
