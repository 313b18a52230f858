"""Resuming continues from the newest checkpoint that loads; finding none is reported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from mmsam_ext.checkpoints import CheckpointError
from mmsam_ext.checkpoints.latest import newest_checkpoint
from tests.naming import raises_naming
from tests.toy import toy_runner

HOOKS = dict(checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2))


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder of a training of six iterations, with a checkpoint every two."""
    folder = tmp_path_factory.mktemp('finished') / 'work'
    toy_runner(folder, iterations=6, default_hooks=HOOKS).train()
    return folder


@pytest.fixture
def work(finished, tmp_path) -> Path:
    """Return a copy of the work folder whose `last_checkpoint` points into the copy."""
    shutil.copytree(finished, tmp_path / 'work')
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(tmp_path / 'work' / 'iter_6.pth'))
    return tmp_path / 'work'


def found(work: Path) -> str:
    return Path(newest_checkpoint(str(work))).name


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == 'truncated':
        path.write_bytes(content[: len(content) // 2])
    elif how == 'empty':
        path.write_bytes(b'')
    elif how == 'flipped':  # a bit of a tensor's bytes on a bad disk
        at = content.index(torch.load(path, weights_only=True)['state_dict']['linear.weight'].numpy().tobytes())
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == 'weights':
        torch.save(torch.load(path, weights_only=True)['state_dict'], path)
    elif how == 'no iteration':
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint['meta']['iter']
        torch.save(checkpoint, path)
    else:
        path.unlink()


def test_the_named_one(work) -> None:
    assert found(work) == 'iter_6.pth'
    (work / 'last_checkpoint').write_text(f'{work}/iter_4.pth\n')  # killed before the newest was named
    assert found(work) == 'iter_4.pth'


def test_without_last_checkpoint(work) -> None:
    (work / 'last_checkpoint').unlink()
    shutil.copy(work / 'iter_6.pth', work / 'iter_10.pth')  # by number, not by text
    shutil.copy(work / 'iter_6.pth', work / 'best_mIoU_iter_99.pth')
    assert found(work) == 'iter_10.pth'


@pytest.mark.parametrize('how', ['truncated', 'empty', 'flipped', 'weights', 'no iteration', 'deleted'])
@pytest.mark.parametrize('pointer', [True, False])
def test_damaged_newest(how, pointer, work) -> None:
    if not pointer:
        (work / 'last_checkpoint').unlink()
    damage(work / 'iter_6.pth', how)
    assert found(work) == 'iter_4.pth'
    damage(work / 'iter_4.pth', 'truncated')
    assert found(work) == 'iter_2.pth'
    damage(work / 'iter_2.pth', 'empty')
    with raises_naming(CheckpointError, work / 'iter_4.pth', work / 'iter_2.pth', '--resume'):
        newest_checkpoint(str(work))


@pytest.mark.parametrize('value', ['', '\0', 'x' * 9000, '/nowhere/iter_6.pth', 'iter_6.pth', '../other/iter_6.pth'])
def test_what_last_checkpoint_may_hold(value, work) -> None:
    (work / 'last_checkpoint').write_text(value)
    assert found(work) == 'iter_6.pth'


@pytest.mark.parametrize('url', ['http://127.0.0.1:1/iter_6.pth', 's3://bucket/iter_6.pth', 'torchvision://resnet18'])
def test_url_is_not_followed(url, work) -> None:
    (work / 'last_checkpoint').write_text(url)
    assert found(work) == 'iter_6.pth'
    for path in work.glob('*.pth'):
        path.unlink()
    with raises_naming(CheckpointError, url, work):
        newest_checkpoint(str(work))


def test_binary_and_special_last_checkpoint(work) -> None:
    (work / 'last_checkpoint').write_bytes(b'\xff\xfe\x00')
    assert found(work) == 'iter_6.pth'
    (work / 'last_checkpoint').write_text('/dev/zero')
    assert found(work) == 'iter_6.pth'


def test_pipes_and_empty_folders(work) -> None:
    (work / 'last_checkpoint').unlink(missing_ok=True)
    os.mkfifo(work / 'last_checkpoint')
    (work / 'iter_8.pth').mkdir()
    os.mkfifo(work / 'iter_9.pth')
    (work / 'iter_10.pth').touch()
    assert found(work) == 'iter_6.pth'


def test_newer_files_are_of_another_training(work) -> None:
    """Resume in a folder where a new training started at step 0 and lost its only checkpoint."""
    (work / 'last_checkpoint').write_text(str(work / 'iter_1.pth'))
    with raises_naming(CheckpointError, work / 'iter_1.pth', work / 'iter_6.pth'):
        newest_checkpoint(str(work))


def test_folders_without_a_training_checkpoint(tmp_path) -> None:
    assert newest_checkpoint(str(tmp_path)) is None
    assert newest_checkpoint(str(tmp_path / 'none')) is None
    (tmp_path / 'best_mIoU_iter_4.pth').write_bytes(b'x')
    with raises_naming(CheckpointError, tmp_path, 'best_mIoU_iter_4.pth'):
        newest_checkpoint(str(tmp_path))


def test_resumed_training_equals_the_whole_one(work, finished, tmp_path) -> None:
    """Resume by the Runner after the folder was moved and its newest checkpoint damaged."""
    moved = tmp_path / 'moved'
    (work / 'last_checkpoint').write_text(str(work / 'iter_6.pth'))
    os.rename(work, moved)
    damage(moved / 'iter_6.pth', 'truncated')
    runner = toy_runner(moved, iterations=6, resume=True, default_hooks=HOOKS)
    runner.train()
    whole = torch.load(finished / 'iter_6.pth', weights_only=True)['state_dict']
    for key, value in whole.items():
        assert torch.equal(runner.model.state_dict()[key], value), key
    assert torch.load(moved / 'iter_6.pth', weights_only=True)['meta']['iter'] == 6  # written again, whole


def test_resume_from_plain_weights_by_name(work, tmp_path) -> None:
    damage(work / 'iter_6.pth', 'weights')
    runner = toy_runner(tmp_path / 'new', resume=True, load_from=str(work / 'iter_6.pth'))
    with raises_naming(CheckpointError, work / 'iter_6.pth', 'epoch'):
        runner.train()
