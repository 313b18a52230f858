"""``python -m mmsam_ext``: the table of commands; commands that do not need PyTorch do not import it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmsam_ext
from mmsam_ext.cli import commands, convert, main
from mmsam_ext.cli.commands import COMMANDS, Command
from tests.naming import assert_names

REPO = Path(__file__).resolve().parents[1]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120,
        env=os.environ | dict(PYTHONPATH=str(REPO)),
    )  # fmt: skip


def test_help_lists_every_command_and_loads_no_torch(tmp_path: Path) -> None:
    done = run('-X', 'importtime', '-m', 'mmsam_ext', '--help', folder=tmp_path)
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith('  ')]
    assert listed == list(COMMANDS)
    loaded = {line.split('|')[-1].strip() for line in done.stderr.splitlines()}
    assert 'mmsam_ext.cli.commands' in loaded and not loaded & {'torch', 'numpy', 'mmengine', 'cv2'}


@pytest.mark.parametrize('name', COMMANDS)
def test_targets_exist(name: str) -> None:
    target = COMMANDS[name].target
    if target.endswith('.py'):
        assert (REPO / 'tools' / target).is_file()
    else:
        assert callable(importlib.import_module(f'mmsam_ext.cli.{target}').main)


def test_every_script_is_a_command() -> None:
    """Every script in tools/ is a thin entry point to a command, or a script that the table of commands names."""
    folders = [REPO / 'tools', REPO / 'tools/analysis', REPO / 'tools/converters']
    scripts = {path.stem.replace('_', '-') for folder in folders for path in folder.glob('[!_]*.py')}
    assert scripts - {'spt-official'} <= set(COMMANDS) and 'spt-official' in convert.FORMATS


def test_unknown_names_suggest_the_nearest(capsys: pytest.CaptureFixture) -> None:
    assert main(['modelcost']) == 2
    error = capsys.readouterr().err
    assert_names(error, 'modelcost', 'model-cost')
    assert 'visualize-sampling' not in error
    with pytest.raises(SystemExit) as stopped:
        convert.main(['spt-offical', 'a', 'b'])
    assert stopped.value.code == 2
    assert_names(capsys.readouterr().err, 'spt-offical', 'spt-official')


def test_a_command_gets_its_arguments_and_gives_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, 'argv', ['mmsam_ext/__main__.py'])
    seen = []
    module = importlib.import_module('mmsam_ext.cli.compare_runs')
    monkeypatch.setattr(module, 'main', lambda arguments: seen.append((sys.argv, arguments)) or 7)
    assert main(['compare-runs', 'a=b', '--out', 'c']) == 7
    assert seen == [(['python -m mmsam_ext compare-runs', 'a=b', '--out', 'c'], ['a=b', '--out', 'c'])]
    assert main(['--version']) == 0 and capsys.readouterr().out.strip() == mmsam_ext.__version__


def test_a_new_command_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, 'argv', ['x'])
    monkeypatch.setitem(commands.COMMANDS, 'environment', Command('check_env.py', 'The same under another name.', True))
    with pytest.raises(SystemExit):  # a script ends as the main program does
        main(['environment'])
    assert_names(capsys.readouterr().out, 'package', 'installed', 'wanted')


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    """Without site-packages, errors name check-env, and check-env itself runs."""
    done = run('-S', '-m', 'mmsam_ext', 'train', 'x.py', folder=tmp_path)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert_names(done.stderr, 'ModuleNotFoundError', 'check-env')
    done = run('-S', '-m', 'mmsam_ext', 'check-env', folder=tmp_path)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert_names(done.stdout, 'torch', 'MISSING')


def test_unknown_config_of_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', ['x'])
    with pytest.raises(SystemExit) as stopped:
        main(['train', 'spt_tiny_sinthetic'])
    assert_names(str(stopped.value.code), 'spt_tiny_sinthetic', 'spt_tiny_synthetic')
