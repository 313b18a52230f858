# Sourced by run_tests.sh and quickstart.sh: creates .venv with the pinned set, sets PYTHON, and defines `say`.
# SETS names the files of requirements/ that are installed, "runtime dev" by default. They are installed again only if one
# of them or the interpreter changed. VENV=DIR uses another environment.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
VENV=${VENV:-$ROOT/.venv}
SECONDS=0
say() { printf '[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

# Print a Python from 3.10 to 3.13 that can create environments (on Debian that needs python3-venv).
find_python() {
    local name
    for name in python3 python3.11 python3.12 python3.10 python3.13 python; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
            >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "No Python 3.10 to 3.13 with the venv module found. Install one (Debian, Ubuntu: apt install python3-venv)." >&2
    return 1
}

# Run pip quietly: print a line every 20 seconds while it works, and its whole output if it fails.
install() {
    local log status=0 pid waited=0
    log=$(mktemp)
    "$PYTHON" -m pip --disable-pip-version-check install "$@" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        if [ $((waited % 20)) -eq 0 ]; then say "  still installing ($(du -sm "$VENV" 2>/dev/null | cut -f 1) MB)"; fi
    done
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
        say "pip failed. It needs access to a package index (see pip config) and 6 GB of disk space."
    fi
    rm -f "$log"
    return "$status"
}

if [ ! -x "$VENV/bin/python" ]; then
    base=$(find_python)
    say "creating $VENV with $("$base" --version)"
    "$base" -m venv "$VENV"
fi
PYTHON="$VENV/bin/python"

# Print a hash of requirements/NAME.txt and the version of Python, which the environment has to match.
version_of() {
    "$PYTHON" -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(), sys.version.split()[0])' "requirements/$1.txt"
}

# Install the files of $SETS that changed since they were last installed.
install_changed() {
    local name left_out='^$' changed=()
    for name in ${SETS:-runtime dev}; do
        if [ "$(cat "$VENV/$name.sha256" 2>/dev/null)" != "$(version_of "$name")" ]; then changed+=("$name.txt"); fi
    done
    if [ ${#changed[@]} -eq 0 ]; then return; fi
    say "installing the pinned set: ${changed[*]} (about two minutes and 5 GB where nothing is installed)"
    if "$PYTHON" -c 'import importlib.metadata as m; m.version("mmcv")' >/dev/null 2>&1; then
        say "  the compiled mmcv is installed, so mmcv-lite is left out"
        left_out='^mmcv-lite'
    fi
    install --no-compile -r <(grep -hv "$left_out" "${changed[@]/#/requirements/}") || return
    install --no-compile --no-deps -e . || return
    # pip would compile every file. This compiles what the commands import, and check_env.py below finds what is wrong.
    env -u PYTHONDONTWRITEBYTECODE "$PYTHON" -c 'import mmsam_ext, mmseg.apis, mmpretrain.models, matplotlib.pyplot' \
        >/dev/null 2>&1 || true
    for name in "${changed[@]%.txt}"; do version_of "$name" >"$VENV/$name.sha256"; done
}

install_changed || return
say "environment $VENV"
"$PYTHON" tools/check_env.py
