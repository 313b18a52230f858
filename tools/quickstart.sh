#!/usr/bin/env bash
# Adapt a promptable SAM on the CPU in about six minutes, starting from a fresh clone: create .venv if it does not exist,
# test the packaged mini SAM on built-in synthetic defects, adapt it to them with SPT (configs/spt_tiny_synthetic.py),
# test it again, and write a table and pictures.
# Usage: tools/quickstart.sh [arguments of tools/train.py]
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;; esac
SETS=runtime source "$(dirname "$0")/setup_env.sh"

PLAIN=configs/sam_tiny_synthetic.py
CONFIG=configs/spt_tiny_synthetic.py
WEIGHTS=mmsam_ext://sam_tiny
WORK=work_dirs/quickstart
rm -rf "$WORK" # results of an earlier run
mkdir -p "$WORK"

# test NAME CONFIG CHECKPOINT [arguments of tools/test.py]
test_model() {
    local log="$WORK/$1.log"
    say "testing $3, $1 (log: $log)"
    if ! "$PYTHON" tools/test.py "$2" "$3" --work-dir "$WORK/$1" "${@:4}" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        say "testing failed; the full log is $log"
        exit 1
    fi
}

test_model zero-shot "$PLAIN" "$WEIGHTS"

say "adapting it: $CONFIG (log: $WORK/train.log)"
set +e # grep may find nothing; the exit code of the training is what counts
"$PYTHON" tools/train.py "$CONFIG" --work-dir "$WORK/train" "$@" 2>&1 | tee "$WORK/train.log" |
    grep --line-buffered -E 'Iter\((train|val)\).*(loss|mIoU)'
status=${PIPESTATUS[0]}
set -e
if [ "$status" -ne 0 ]; then
    tail -n 30 "$WORK/train.log" >&2
    say "training failed; the full log is $WORK/train.log"
    exit 1
fi

CHECKPOINT=$(cat "$WORK/train/last_checkpoint")
test_model adapted "$CONFIG" "$CHECKPOINT" --show-dir "$WORK/pictures" --cfg-options default_hooks.visualization.interval=5

"$PYTHON" tools/compare_runs.py zero-shot="$WORK/zero-shot" adapted="$WORK/adapted" --out "$WORK/table.md"
say "done"
echo "  table     $WORK/table.md"
echo "  pictures  $(find "$WORK/pictures" -name sheet.png) (and $(find "$WORK/pictures" -name '*.png' | wc -l) more beside it)"
echo "  weights   $CHECKPOINT"
