"""The lock that keeps two trainings out of one work folder."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mmengine.config import Config

from mmsam_ext.engine.hooks.atomic_checkpoint_hook import PARTIAL, write_atomically
from mmsam_ext.engine.work_dir_lock import LOCK_NAME, WorkDirLock
from tests.naming import raises_naming
from tests.toy import ToyModel, toy_runner

REPO = Path(__file__).resolve().parents[2]
HOLD = """
    import sys
    sys.path.insert(0, {repo!r})
    from mmsam_ext.engine.work_dir_lock import WorkDirLock
    WorkDirLock({folder!r}).acquire()
    {fork}
    print('held', flush=True)
    sys.stdin.read()
"""
HOOKS = dict(checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2))


def holder(folder: Path, fork: str = '') -> subprocess.Popen:
    """A process that holds the lock of `folder` until its stdin ends."""
    code = textwrap.dedent(HOLD).format(repo=str(REPO), folder=str(folder), fork=fork)
    child = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert any(line.strip() == 'held' for line in child.stdout)  # packages may print something first
    return child


def test_second_training_names_the_first(tmp_path) -> None:
    child = holder(tmp_path)
    with raises_naming(RuntimeError, tmp_path, child.pid, os.uname().nodename):
        toy_runner(tmp_path, default_hooks=HOOKS).train()
    assert not list(tmp_path.glob('*.pth'))
    child.kill()
    child.wait()
    toy_runner(tmp_path, default_hooks=HOOKS, experiment_name='after').train()  # the lock died with its process
    assert (tmp_path / 'iter_4.pth').exists()


@pytest.mark.parametrize('hook', ['AtomicCheckpointHook', 'CheckpointHook'])
def test_nothing_of_the_first_training_is_overwritten(hook, tmp_path) -> None:
    """The copy of the config is written by the Runner's constructor, long before it trains."""
    child = holder(tmp_path)
    (tmp_path / 'toy.py').write_text('of_the_first = 1')
    (tmp_path / 'of_config').mkdir()
    (tmp_path / 'of_config' / 'toy.py').write_text('of_the_second = 1')
    cfg = Config.fromfile(tmp_path / 'of_config' / 'toy.py')
    hooks = dict(checkpoint=dict(type=hook, by_epoch=False, interval=2))
    options = dict(default_hooks=hooks, experiment_name=f'second_{hook}', cfg=cfg)
    runner = toy_runner(tmp_path, **options)  # as a test of the model does, too
    with raises_naming(RuntimeError, tmp_path, child.pid):
        runner.train()
    assert (tmp_path / 'toy.py').read_text() == 'of_the_first = 1'
    assert not list(tmp_path.glob('*.pth'))
    child.kill()
    child.wait()
    options['experiment_name'] += '_alone'
    toy_runner(tmp_path, **options)
    assert 'of_the_second' in (tmp_path / 'toy.py').read_text()


def test_a_failed_training_gives_the_lock_back(tmp_path) -> None:
    runner = toy_runner(tmp_path, default_hooks=HOOKS, optim_wrapper=dict(type='NoSuchWrapper'))
    with raises_naming(ValueError, 'NoSuchWrapper'):
        runner.train()
    child = holder(tmp_path)
    child.kill()
    child.wait()


def test_workers_of_a_killed_training_do_not_hold_its_lock(tmp_path) -> None:
    """The lock is released although a forked data loading worker lives a few seconds longer."""
    child = holder(tmp_path, fork='import os, time; os.fork() or (time.sleep(30), os._exit(0))')
    child.kill()
    child.wait()
    lock = WorkDirLock(str(tmp_path))
    lock.acquire()
    lock.release()


def test_one_process_may_train_again_in_its_folder(tmp_path) -> None:
    lock = WorkDirLock(str(tmp_path))
    lock.acquire()
    toy_runner(tmp_path, default_hooks=HOOKS).train()
    lock.release()
    child = holder(tmp_path)  # given back
    child.kill()
    child.wait()


def test_damaged_lock_file_and_a_path_with_a_link(tmp_path) -> None:
    (tmp_path / 'work').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'work')
    child = holder(tmp_path / 'work')
    (tmp_path / 'work' / LOCK_NAME).write_text('[]')
    with raises_naming(RuntimeError, 'another training'):
        WorkDirLock(str(tmp_path / 'link')).acquire()
    child.kill()
    child.wait()


def test_a_lock_that_is_a_link_or_no_file_is_an_error(tmp_path) -> None:
    """The file behind a link is the user's, and would have been overwritten with the process id."""
    (tmp_path / 'notes').write_text('mine')
    for name, make in dict(
        link=lambda path: path.symlink_to(tmp_path / 'notes'), folder=Path.mkdir, pipe=os.mkfifo
    ).items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / LOCK_NAME)
        with raises_naming(RuntimeError, tmp_path / name / LOCK_NAME, '--work-dir'):
            WorkDirLock(str(tmp_path / name)).acquire()
    assert (tmp_path / 'notes').read_text() == 'mine'


def locked_in_a_fork(folder: Path) -> bool:
    """Whether a forked process finds the folder locked."""
    child = os.fork()
    if child == 0:
        try:
            WorkDirLock(str(folder)).acquire()
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_process_does_not_hold_the_lock_of_its_parent(tmp_path) -> None:
    lock = WorkDirLock(str(tmp_path))
    lock.acquire()
    assert locked_in_a_fork(tmp_path)
    lock.release()
    assert not locked_in_a_fork(tmp_path)


def test_work_folders_of_one_name_do_not_share_an_out_dir_at_once(tmp_path, capfd, monkeypatch) -> None:
    shared, seen = tmp_path / 'all' / 'run', []
    hooks = dict(checkpoint=dict(HOOKS['checkpoint'], out_dir=str(tmp_path / 'all')))
    stock = ToyModel.forward
    monkeypatch.setattr(
        ToyModel, 'forward', lambda *args, **kwargs: seen.append(locked_in_a_fork(shared)) or stock(*args, **kwargs)
    )
    for name in ('first', 'second'):
        toy_runner(tmp_path / name / 'run', 2, default_hooks=hooks, experiment_name=f'out_dir_{name}').train()
        said = capfd.readouterr()
        assert ('iter_2.pth' in said.out + said.err) == (name == 'second')  # its files are overwritten with a warning
    assert len(seen) == 4 and all(seen) and not locked_in_a_fork(shared)


def test_names_of_partial_files_are_unique_and_removed(tmp_path, monkeypatch) -> None:
    seen = []
    stock = os.replace
    monkeypatch.setattr(os, 'replace', lambda a, b: (seen.append(Path(a).name), stock(a, b)))
    for _ in range(3):
        write_atomically(b'x', tmp_path / 'iter_2.pth')
    assert len(set(seen)) == 3 and all(name.startswith('.iter_2.pth.') and name.endswith(PARTIAL) for name in seen)

    def full(descriptor: int) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='no space'):
        write_atomically(b'y', tmp_path / 'iter_2.pth')
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ['iter_2.pth']
    assert (tmp_path / 'iter_2.pth').read_bytes() == b'x'

    (tmp_path / f'.iter_4.pth.0123{PARTIAL}').write_bytes(b'half')  # of a killed training
    (tmp_path / 'notes.partial').write_text('of the user')
    toy_runner(tmp_path, default_hooks=HOOKS).train()
    assert not list(tmp_path.glob(f'.*{PARTIAL}')) and (tmp_path / 'notes.partial').exists()


def test_starting_over_is_said(tmp_path, capfd) -> None:
    toy_runner(tmp_path, default_hooks=HOOKS).train()
    toy_runner(tmp_path, default_hooks=HOOKS, experiment_name='over').train()
    assert 'iter_4.pth' in capfd.readouterr().err + capfd.readouterr().out or any(
        'iter_4.pth' in path.read_text() for path in tmp_path.glob('*/*.log')
    )
