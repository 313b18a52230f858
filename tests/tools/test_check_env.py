"""The environment check, on made-up environments and on an empty one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import check_env
import pytest

from tests.packaging_files import install_requires

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'tools' / 'check_env.py'
GOOD_REPORT = dict(torch='2.11.0+cu130', torchvision='0.26.0+cu130', error=None, cuda=False, devices=[])


PINS = check_env.pinned()


def wrong(report: dict | None = GOOD_REPORT, **changes: str | None) -> dict[str, object]:
    """Rows that are wrong, by name, in the pinned environment with `changes` (None removes a package)."""
    installed = dict(PINS) | {name.replace('_', '-'): version for name, version in changes.items()}
    installed = {name: version for name, version in installed.items() if version is not None}
    return {row.name: row for row in check_env.check(installed, report, PINS) if row.wrong}


def test_pinned_set_is_right() -> None:
    assert wrong() == {}
    assert wrong(mmcv_lite=None, mmcv='2.1.0') == {}, 'the full mmcv is accepted, too'
    assert wrong(opencv_python=None, opencv_python_headless='4.10.0.84') == {}
    assert wrong(timm='1.0.20', numpy='2.1.0') == {}, 'other versions inside the range are reported, not rejected'


FORK = dict(
    mmengine=None, onedl_mmengine='0.10.12', mmcv_lite=None, onedl_mmcv='2.3.6', mmsegmentation=None,
    onedl_mmsegmentation='1.4.2', mmpretrain=None, onedl_mmpretrain='1.3.6',
)  # fmt: skip


def test_the_onedl_fork_is_known() -> None:
    assert wrong(**FORK) == {}
    both = wrong(**{**FORK, 'mmengine': '0.10.7'})['mmengine']
    assert 'onedl-mmengine' in both.state and 'uninstall -y mmengine onedl-mmengine' in both.fix
    old = wrong(**{**FORK, 'onedl_mmcv': '2.2.0'})['mmcv']
    assert 'onedl-mmcv==2.3.6' in old.fix


@pytest.mark.parametrize(
    ('changes', 'name', 'state', 'fix'),
    [
        (dict(torch=None), 'torch', 'MISSING', 'torch==2.11.0 torchvision==0.26.0'),
        (dict(torch='2.5.1'), 'torch', 'WRONG', 'torch==2.11.0 torchvision==0.26.0'),
        (dict(ftfy=None), 'ftfy', 'MISSING', 'does not declare it'),
        (dict(regex=None), 'regex', 'MISSING', 'pip install regex=='),
        (dict(mmengine='0.11.0'), 'mmengine', 'WRONG', 'mmengine==0.10.7'),
        (dict(mmsegmentation='0.30.0'), 'mmsegmentation', 'WRONG', 'mmsegmentation==1.2.2'),
        (dict(mmcv_lite=None), 'mmcv or mmcv-lite', 'MISSING', 'pip install mmcv-lite==2.1.0'),
        (
            dict(mmcv_lite=None, mmcv='2.2.0'),
            'mmcv or mmcv-lite',
            'needs 2.0.0 to below 2.2',
            'uninstall -y mmcv mmcv-lite &&',
        ),
        (dict(mmcv='2.1.0'), 'mmcv or mmcv-lite', 'overwrite each other', 'uninstall -y mmcv mmcv-lite &&'),
    ],
)
def test_what_is_wrong_and_how_to_fix_it(changes: dict, name: str, state: str, fix: str) -> None:
    rows = wrong(**changes)
    assert list(rows) == [name]
    assert state in rows[name].state and fix in rows[name].fix


@pytest.mark.parametrize(
    ('report', 'state'),
    [
        (dict(torchvision='0.25.0+cu130'), 'needs torchvision 0.26'),
        (dict(torch='2.11.0+cpu'), 'different builds: cpu and cu130'),
        (dict(error='RuntimeError: operator torchvision::nms does not exist'), 'operator torchvision::nms'),
    ],
)
def test_torch_and_torchvision_must_match(report: dict, state: str) -> None:
    row = wrong(report=GOOD_REPORT | report)['torch and torchvision']
    assert state in row.state and 'uninstall -y torch torchvision &&' in row.fix


def test_gpu_row() -> None:
    def row(report: dict) -> tuple[str, str]:
        rows = {row.name: row for row in check_env.check(dict(PINS), GOOD_REPORT | report, PINS)}
        return rows['GPU'].installed, rows['GPU'].state

    assert row({}) == ('none found', 'CPU only')
    assert row(dict(cuda=True, devices=['A100', 'A100'])) == ('A100, A100', 'ok')


def test_versions() -> None:
    assert check_env.numbers('2.11.0+cu130') == (2, 11, 0)
    assert check_env.within('0.10.7', '0.10.7', '0.11') and not check_env.within('0.11.0', '0.10.7', '0.11')
    assert check_env.within('2.10.0', '2.6', None), 'numbers, not text'


def test_pins_follow_the_python(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text(
        'a==1.0\nb==2.0; python_version >= "3.10"\nb==1.5; python_version < "3.10"\n# c==1\n'
    )
    assert check_env.pinned(tmp_path) == dict(a='1.0', b='2.0')


def test_runs_with_nothing_installed() -> None:
    done = subprocess.run([sys.executable, '-I', '-S', str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert re.search(r'^torch +- ', done.stdout, re.MULTILINE) and 'runtime.txt' in done.stdout


def test_here() -> None:
    """The environment that runs the tests passes the check, including the import of torch."""
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'a matching pair' in done.stdout and 'WRONG' not in done.stdout


def test_needs_what_setup_declares() -> None:
    """The check knows the distributions of setup.py, with ranges that are not wider."""
    declared = {}
    for line in install_requires():
        name, bounds = re.match(r'([\w-]+)(.*)', line).groups()
        declared[name] = dict(re.findall(r'(>=|==|<)([\d.]+)', bounds))
    assert declared.keys() == check_env.NEEDED.keys()
    for name, bounds in declared.items():
        lowest, too_new = check_env.NEEDED[name]
        assert bounds.get('>=', bounds.get('==', lowest)) == lowest, name
        assert bounds.get('<', too_new) == too_new, name
