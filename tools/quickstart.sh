#!/usr/bin/env bash
# From nothing to a trained and tested promptable SAM, on the CPU, in about ten minutes: makes .venv if there is none,
# trains configs/sam_tiny_synthetic.py on built-in synthetic defects, tests it, and leaves a table and pictures.
# Usage: tools/quickstart.sh [arguments of tools/train.py]
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,4s/^# //p' "$0"; exit ;; esac
source "$(dirname "$0")/setup_env.sh"

CONFIG=configs/sam_tiny_synthetic.py
WORK=work_dirs/quickstart
rm -rf "$WORK" # what an earlier run left
mkdir -p "$WORK"

say "training $CONFIG (log: $WORK/train.log)"
set +e # grep may find nothing; what counts is how training ended
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK" "$@" 2>&1 | tee "$WORK/train.log" |
    grep --line-buffered -E 'Iter\(|Epoch\('
status=${PIPESTATUS[0]}
set -e
if [ "$status" -ne 0 ]; then
    tail -n 30 "$WORK/train.log" >&2
    say "training failed; the whole log is $WORK/train.log"
    exit 1
fi

CHECKPOINT=$(cat "$WORK/last_checkpoint")
say "testing $CHECKPOINT (log: $WORK/test.log)"
if ! "$PYTHON" tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$WORK/test" --show-dir "$WORK/pictures" \
    >"$WORK/test.log" 2>&1; then
    tail -n 30 "$WORK/test.log" >&2
    say "testing failed; the whole log is $WORK/test.log"
    exit 1
fi
grep -E '^\+[-+]+\+$|^\|' "$WORK/test.log" || true

say "done"
echo "  table     $WORK/test.log"
echo "  pictures  $WORK/pictures ($(find "$WORK/pictures" -name '*.png' | wc -l) files)"
echo "  weights   $CHECKPOINT"
