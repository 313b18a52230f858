"""tools/compare_runs.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.naming import assert_names

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'compare_runs.py'


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)


def write(folder: Path, stamp: str, result: dict) -> None:
    (folder / stamp).mkdir(parents=True)
    (folder / stamp / f'{stamp}.json').write_text(json.dumps(result))


def test_newest_result_of_each_run(tmp_path: Path) -> None:
    write(tmp_path / 'a', '20260101_000000', {'mIoU/box': 1.0})
    write(tmp_path / 'a', '20260102_000000', {'mIoU/box': 50.04, 'ST/1 point': 70.0, 'mIoU': 9.0})
    write(tmp_path / 'b', '20260101_000000', {'mIoU/box': 60.06, 'mIoU/boxes': 3.0})
    out = tmp_path / 'table.md'
    done = run(f'zero-shot={tmp_path / "a"}', f'adapted={tmp_path / "b"}', '--out', out)
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in out.read_text().splitlines()]
    assert lines[0] == ['run', 'mIoU box', 'mIoU boxes', 'ST 1 point']
    assert lines[2] == ['zero-shot', '50.0', '-', '70.0']
    assert lines[3] == ['adapted', '60.1', '3.0', '-']


def test_bad_input_names_the_run(tmp_path: Path) -> None:
    assert_names(run(f'a={tmp_path / "none"}').stderr, tmp_path / 'none')
    assert_names(run('work_dirs/a').stderr, 'work_dirs/a', 'NAME=DIR')
    write(tmp_path / 'c', '20260101_000000', {'lr': 1.0})
    done = run(f'a={tmp_path / "c"}')
    assert done.returncode == 1
    assert_names(done.stderr, tmp_path, "['lr']")
