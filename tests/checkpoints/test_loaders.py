"""Checkpoint files, good and bad, through mmengine's own entry points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import initialize
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmsam_ext.checkpoints import loaders as checkpoint_loaders
from mmsam_ext.checkpoints.loaders import CheckpointError
from tests.naming import raises_naming
from tests.toy import ToyModel, toy_runner

WEIGHTS = {'linear.weight': torch.tensor([[3.0]]), 'linear.bias': torch.tensor([1.0])}


def load(path: Path | str) -> Any:
    return CheckpointLoader.load_checkpoint(str(path), 'cpu')


def holds_weights(model: torch.nn.Module) -> bool:
    return all(torch.equal(value, WEIGHTS[key]) for key, value in model.state_dict().items())


def test_flat_state_dict_and_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / 'flat.pth')
    monkeypatch.setenv('HOME', str(tmp_path))
    checkpoint = load('~/flat.pth')
    assert torch.equal(checkpoint['state_dict']['linear.weight'], WEIGHTS['linear.weight'])
    assert checkpoint['meta'] == {}  # EMAHook and MMSegInferencer look for both


def test_missing_file(tmp_path: Path) -> None:
    with raises_naming(FileNotFoundError, 'no.pth'):
        load(tmp_path / 'no.pth')
    with raises_naming(CheckpointError, tmp_path, 'folder'):
        load(tmp_path)


@pytest.mark.parametrize('share', [0.05, 0.5, 0.99])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = tmp_path / 'cut.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1000))), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with raises_naming(CheckpointError, 'cut.pth', f'{path.stat().st_size} bytes'):
        load(path)


@pytest.mark.parametrize(
    ('content', 'names'),
    [
        (b'', ('0 bytes',)),
        (b'<!DOCTYPE html>', ("b'<!DO'", '15 bytes')),
        (b'\x89PNG\r\n\x1a\n', ('checkpoint', '8 bytes')),
        (b'version https://git-lfs.github.com/spec/v1\n', ("b'vers'",)),
    ],
)
def test_not_a_checkpoint(tmp_path: Path, content: bytes, names: tuple[str, ...]) -> None:
    path = tmp_path / 'odd.pth'
    path.write_bytes(content)
    with raises_naming(CheckpointError, 'odd.pth', *names):
        load_checkpoint(ToyModel(), str(path))


@pytest.mark.parametrize('value', [torch.zeros(3), [1, 2], dict(epoch=3, best=0.5), {}])
def test_no_weights_in_it(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / 'odd.pth')
    with raises_naming(CheckpointError, 'odd.pth'):
        load(tmp_path / 'odd.pth')


def test_whole_model_is_rejected(tmp_path: Path) -> None:
    """torch.save(model) is a common mistake; loading it would import and run classes by name."""
    torch.save(ToyModel(), tmp_path / 'model.pth')
    with raises_naming(CheckpointError, 'model.pth', 'ToyModel'):
        load(tmp_path / 'model.pth')


def test_safetensors_by_load_from(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / 'a.safetensors', metadata=dict(source='test'))
    assert load(tmp_path / 'a.safetensors')['meta'] == dict(source='test')
    runner = toy_runner(tmp_path, load_from=str(tmp_path / 'a.safetensors'))
    runner.load_or_resume()
    assert holds_weights(runner.model)


def test_safetensors_by_init_cfg(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / 'a.safetensors')
    model = ToyModel()
    initialize(model, dict(type='Pretrained', checkpoint=str(tmp_path / 'a.safetensors')))
    assert holds_weights(model)
    linear = torch.nn.Linear(1, 1)
    initialize(linear, dict(type='Pretrained', checkpoint=str(tmp_path / 'a.safetensors'), prefix='linear.'))
    assert linear.weight.item() == 3


def test_bad_safetensors(tmp_path: Path) -> None:
    path = tmp_path / 'a.safetensors'
    save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-3])
    with raises_naming(CheckpointError, 'a.safetensors', f'{path.stat().st_size} bytes'):
        load(path)
    torch.save(WEIGHTS, path)
    with raises_naming(CheckpointError, 'a.safetensors'):
        load(path)
    save_file({}, path)
    with raises_naming(CheckpointError, 'a.safetensors', 'weights'):
        load(path)
    with raises_naming(FileNotFoundError, 'b.safetensors'):
        load(tmp_path / 'b.safetensors')


def test_packaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_loaders, 'ASSETS', tmp_path)
    save_file(WEIGHTS, tmp_path / 'tiny.safetensors')
    model = ToyModel()
    load_checkpoint(model, 'mmsam_ext://tiny')
    assert holds_weights(model)
    for name in ('huge', '../assets/tiny', ''):
        with raises_naming(CheckpointError, f'mmsam_ext://{name}', 'tiny'):
            load(f'mmsam_ext://{name}')
