"""tools/setup_env.sh, with a stand-in for the environment's Python that writes down what pip is asked to install."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
#: The real interpreter, but pip writes down the requirements, and settings say whether it fails and mmcv is installed.
PYTHON = f"""#!/usr/bin/env bash
case "$*" in
    *'m.version("mmcv")'*) exit "${{NO_MMCV:-1}}" ;;
    *'-m pip'*' -r '*) cat "${{!#}}" >>"$ASKED"; exit "${{PIP:-0}}" ;;
    *'import hashlib'*) exec {sys.executable} "$@" ;;
esac
"""
Install = Callable[..., list[str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Sources the script with settings, without `set -e`; returns the requirements that pip was given."""
    python = tmp_path / 'venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)

    def sourced(fails: bool = False, **settings: str) -> list[str]:
        asked = tmp_path / 'asked'
        asked.write_text('')
        environment = os.environ | dict(VENV=str(tmp_path / 'venv'), ASKED=str(asked), PIP=str(int(fails))) | settings
        # .ci/run sources it in a loop over `name`.
        script = f'set -u; name=kept; source {REPO}/tools/setup_env.sh && [ "$name" = kept ]'
        done = subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True)
        assert done.returncode == fails, done.stderr
        return asked.read_text().splitlines()

    return sourced


def requirements(name: str) -> list[str]:
    return (REPO / f'requirements/{name}.txt').read_text().splitlines()


def test_quick_start_installs_less_and_the_tests_add_the_rest(install: Install) -> None:
    assert install(SETS='runtime') == requirements('runtime')
    assert install(SETS='runtime') == []
    assert install() == requirements('dev')
    assert install() == [] and install(SETS='runtime') == []


def test_changed_requirements_are_installed_again(install: Install, tmp_path: Path) -> None:
    assert install() == requirements('runtime') + requirements('dev')
    (tmp_path / 'venv/dev.sha256').write_text('of another time')
    assert install(SETS='runtime') == []
    assert install() == requirements('dev')


def test_what_pip_could_not_install_is_tried_again(install: Install) -> None:
    assert install(fails=True, SETS='runtime') == requirements('runtime')
    assert install(SETS='runtime') == requirements('runtime')


def test_compiled_mmcv_keeps_its_place(install: Install) -> None:
    rest = install(NO_MMCV='0')
    assert rest == [line for line in requirements('runtime') + requirements('dev') if not line.startswith('mmcv-lite')]
    assert len(rest) == len(requirements('runtime') + requirements('dev')) - 1
