"""A training that is killed and resumed ends as one that is not; the whole experiment is the command itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.run_tool import TOOLS, run_process


@pytest.mark.slow
def test_two_kills_one_of_them_while_a_file_is_written(tmp_path: Path) -> None:
    command = [sys.executable, TOOLS / 'analysis' / 'kill_and_resume.py', '--kills', '2', '--iterations', '16']
    printed = run_process(command, tmp_path, OMP_NUM_THREADS=1)
    assert 'Killed 2 times' in printed and 'dying_write' in printed and 'Equal bit for bit' in printed
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'random_state'):
        assert part in printed
