"""tools/compare_runs.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmsam_ext.cli.compare_runs import main
from tests.naming import assert_names


def error(*arguments: object) -> str:
    """The message that a command line exits with."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return str(stopped.value)


def write(folder: Path, stamp: str, result: dict) -> None:
    (folder / stamp).mkdir(parents=True)
    (folder / stamp / f'{stamp}.json').write_text(json.dumps(result))


def test_newest_result_of_each_run(tmp_path: Path) -> None:
    write(tmp_path / 'a', '20260101_000000', {'mIoU/box': 1.0})
    write(tmp_path / 'a', '20260102_000000', {'mIoU/box': 50.04, 'ST/1 point': 70.0, 'mIoU': 9.0})
    write(tmp_path / 'b', '20260101_000000', {'mIoU/box': 60.06, 'mIoU/boxes': 3.0})
    out = tmp_path / 'table.md'
    main([f'zero-shot={tmp_path / "a"}', f'adapted={tmp_path / "b"}', '--out', str(out)])
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in out.read_text().splitlines()]
    assert lines[0] == ['run', 'mIoU box', 'mIoU boxes', 'ST 1 point']
    assert lines[2] == ['zero-shot', '50.0', '-', '70.0']
    assert lines[3] == ['adapted', '60.1', '3.0', '-']


def test_bad_input_names_the_run(tmp_path: Path) -> None:
    assert_names(error(f'a={tmp_path / "none"}'), tmp_path / 'none')
    assert_names(error('work_dirs/a'), 'work_dirs/a', 'NAME=DIR')
    write(tmp_path / 'c', '20260101_000000', {'lr': 1.0})
    assert_names(error(f'a={tmp_path / "c"}'), tmp_path / 'c', "['lr']")
