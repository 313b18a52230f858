"""A good checkpoint at every moment, whenever the process dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import find_latest_checkpoint

from mmsam_ext.engine.hooks import atomic_checkpoint_hook
from mmsam_ext.engine.hooks.atomic_checkpoint_hook import AtomicCheckpointHook, with_direction, write_atomically
from tests.naming import raises_naming
from tests.toy import toy_runner

REPO = Path(__file__).resolve().parents[3]


def hooks(**options: object) -> dict:
    return dict(
        checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, **(dict(interval=2) | options)),
        logger=dict(type='LoggerHook', interval=1),
    )


# The child dies (or is killed) in the middle of a write: `when` picks the n-th file, whose half is on the disk by then.
DYING_TRAINING = """
    import os, sys, time
    sys.path.insert(0, {repo!r})
    import mmsam_ext
    from tests.toy import toy_runner

    calls = 0
    stock = os.fsync

    def dying_fsync(descriptor):
        global calls
        calls += 1
        if calls == {when}:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            print('writing', flush=True)
            time.sleep(60)
        stock(descriptor)

    os.fsync = dying_fsync
    toy_runner({work_dir!r}, iterations=8, default_hooks={hooks!r}).train()
"""


# Two fsyncs a file (the file, then its folder), two files a checkpoint: 7 is in the file that points at the second
# checkpoint, 9 in the third checkpoint itself.
@pytest.mark.slow
@pytest.mark.parametrize(('when', 'last_good'), [(7, 2), (9, 4)])
def test_killed_in_the_middle_of_a_write(tmp_path: Path, when: int, last_good: int) -> None:
    code = textwrap.dedent(DYING_TRAINING).format(
        repo=str(REPO), work_dir=str(tmp_path / 'work'), when=when, hooks=hooks(max_keep_ckpts=2)
    )
    child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    assert any('writing' in line for line in child.stdout), 'the child never came to the write'
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.returncode == -signal.SIGKILL

    latest = find_latest_checkpoint(str(tmp_path / 'work'))
    assert Path(latest).name == f'iter_{last_good}.pth'
    for path in (tmp_path / 'work').glob('*.pth'):  # every file that carries a checkpoint's name is whole
        assert torch.load(path, weights_only=False)['meta']['iter'] == int(path.stem.removeprefix('iter_'))

    resumed = toy_runner(tmp_path / 'work', iterations=8, resume=True, default_hooks=hooks(max_keep_ckpts=2))
    resumed.train()
    whole = toy_runner(tmp_path / 'whole', iterations=8, default_hooks=hooks(max_keep_ckpts=2))
    whole.train()
    assert resumed.iter == whole.iter == 8
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=0, atol=0)
    assert sorted(path.name for path in (tmp_path / 'work').glob('*.pth')) == ['iter_6.pth', 'iter_8.pth']
    assert not list((tmp_path / 'work').glob('.*.partial')), 'what a killed write leaves is overwritten by the next'


class Watch(Hook):
    """Notes which checkpoints are on the disk each time one is about to be written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, []

    def before_save_checkpoint(self, runner: object, checkpoint: dict) -> None:
        self.seen.append(sorted(path.name for path in self.folder.glob('*.pth')))


def test_old_checkpoints_go_after_the_new_one_is_there(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    toy_runner(tmp_path, iterations=8, default_hooks=hooks(max_keep_ckpts=2), custom_hooks=[watch]).train()
    kept = [[], ['iter_2.pth'], ['iter_2.pth', 'iter_4.pth'], ['iter_4.pth', 'iter_6.pth']]
    assert watch.seen == kept
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_6.pth', 'iter_8.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_8.pth')


def test_the_best_checkpoint_goes_after_the_better_one_is_there(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    runner = toy_runner(
        tmp_path, iterations=8, default_hooks=hooks(save_best='score', rule='greater'), custom_hooks=[watch]
    )
    hook = next(hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook))
    hook.before_train(runner)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = []
    for iteration, score in ((2, 0.1), (4, 0.5), (6, 0.3), (8, 0.7)):
        runner.train_loop._iter = iteration
        hook.after_val_epoch(runner, dict(score=score))
    assert watch.seen == [[], ['best_score_iter_2.pth'], ['best_score_iter_4.pth']]
    assert [path.name for path in tmp_path.glob('best*.pth')] == ['best_score_iter_8.pth']
    assert runner.message_hub.get_info('best_ckpt') == hook.best_ckpt_path == str(tmp_path / 'best_score_iter_8.pth')


@pytest.mark.parametrize('number', [0, 1])
def test_one_checkpoint_is_not_enough(number: int) -> None:
    with raises_naming(ValueError, 'max_keep_ckpts', number, '-1', '2'):
        AtomicCheckpointHook(interval=1, max_keep_ckpts=number)


def test_keep_all_and_two_are_fine() -> None:
    assert AtomicCheckpointHook(interval=1).max_keep_ckpts == -1
    assert AtomicCheckpointHook(interval=1, max_keep_ckpts=2).max_keep_ckpts == 2
    with raises_naming(ValueError, 'file_client_args'):
        AtomicCheckpointHook(interval=1, file_client_args=dict(backend='disk'))


def test_write_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'new' / 'file'
    write_atomically(b'first', path)
    monkeypatch.setattr(os, 'replace', lambda *names: (_ for _ in ()).throw(OSError('no space left')))
    with raises_naming(OSError, 'no space left'):
        write_atomically(b'second', path)
    assert path.read_bytes() == b'first'


def test_a_checkpoint_whenever_the_time_has_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two minutes between iterations and a limit of five, every third iteration is saved, besides the last."""
    clock = iter(range(0, 100_000, 60))
    monkeypatch.setattr('mmsam_ext.engine.hooks.atomic_checkpoint_hook.time.monotonic', lambda: float(next(clock)))
    settings = hooks(interval=1000, max_minutes=3, max_keep_ckpts=-1)
    toy_runner(tmp_path, iterations=8, default_hooks=settings).train()
    saved = {path.name for path in tmp_path.glob('iter_*.pth')}
    assert 'iter_8.pth' in saved and 2 <= len(saved) < 8


def test_max_minutes_out_of_range() -> None:
    with raises_naming(ValueError, 'max_minutes', 0):
        AtomicCheckpointHook(max_minutes=0)


@pytest.mark.parametrize(
    ('metrics', 'best'),
    [
        (dict(count=3, mIoU=70.0), 'mIoU'),
        ({'mE': 0.7, 'MAE': 0.1}, 'mE'),
        (dict(MAE=0.1), 'MAE'),
        ({'mIoU': float('nan'), 'mBIoU/box': 4.0}, 'mBIoU/box'),
        (dict(count=3), None),
    ],
)
def test_the_metric_of_the_best_checkpoint(metrics: dict, best: str | None) -> None:
    hook = AtomicCheckpointHook(save_best='auto')
    assert with_direction(metrics, hook.greater_keys, hook.less_keys) == best


@pytest.mark.parametrize('ranks', [1, 2])
def test_after_max_minutes_all_ranks_of_a_sharded_training_save(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They gather the state together, so the first rank's clock decides for all."""
    runner = SimpleNamespace(iter=0, logger=logging.getLogger('x'), strategy=object())
    saved = []
    hook = AtomicCheckpointHook(by_epoch=False, interval=100, save_last=False, max_minutes=1)
    hook._saved_at = time.monotonic() - (0 if ranks == 2 else 61)  # of rank 1, whose clock says no
    hook.every_n_train_iters = hook.is_last_train_iter = lambda *arguments: False
    monkeypatch.setattr(hook, '_save_checkpoint', saved.append)
    monkeypatch.setattr(atomic_checkpoint_hook, 'is_main_process', lambda: ranks == 1)
    monkeypatch.setattr(atomic_checkpoint_hook, 'get_world_size', lambda: ranks)
    monkeypatch.setattr(atomic_checkpoint_hook, 'broadcast_object_list', lambda data: data.__setitem__(0, True))
    hook.after_train_iter(runner, 0)
    assert saved == [runner]


def test_shards_are_rejected_before_training() -> None:
    """mmengine's default for FSDP writes what the safe loader rejects."""
    strategy = SimpleNamespace(_is_full_state_dict=lambda: False)
    with raises_naming(ValueError, 'FSDPStrategy', "state_dict_cfg='local'", "'full'"):
        AtomicCheckpointHook().before_train(SimpleNamespace(strategy=strategy))


def test_meta_of_flexible_runner_is_corrected() -> None:
    """FlexibleRunner overwrites what the hook passes: it counts an iteration more, also after a validation."""
    hook, written = AtomicCheckpointHook(by_epoch=False, save_last=False), []

    def save_checkpoint(*arguments: object, meta: dict, **options: object) -> None:
        checkpoint = dict(meta=dict(meta, epoch=7, iter=5))
        hook.before_save_checkpoint(None, checkpoint)
        written.append(checkpoint['meta'])

    hub = SimpleNamespace(update_info=lambda name, value: None)
    hook.file_backend, hook.out_dir = SimpleNamespace(join_path=os.path.join), 'nowhere'
    hook.max_keep_ckpts = -1
    runner = SimpleNamespace(message_hub=hub, save_checkpoint=save_checkpoint, work_dir='nowhere')
    with mock.patch.object(atomic_checkpoint_hook, 'write_atomically'):
        hook._save_checkpoint_with_step(runner, 4, dict(epoch=0, iter=4))
    assert written == [dict(epoch=0, iter=4)]
    save_checkpoint(meta={})  # one that another hook saves is left as it is
    assert written[1] == dict(epoch=7, iter=5)
