"""Checkpoints of the trained part on a named base, end to end through a Runner."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner, load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.checkpoints import CheckpointError
from mmsam_ext.checkpoints.base import trained_keys
from mmsam_ext.models.prompt_stages import PromptStage
from mmsam_ext.models.segmentors import freeze_all_but
from mmsam_ext.structures import PromptEmbedding, Prompts, SAMFeatures
from tests.models.small import CHANNELS, SIZE, config, disc, sample, segmentor, stock_sam
from tests.naming import raises_naming


class Images(torch.utils.data.Dataset):
    """Two images with a box each."""

    metainfo = dict(classes=('background', 'defect'))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        image = torch.full((3, SIZE, SIZE), 60 * index + 30, dtype=torch.uint8)
        return dict(inputs=image, data_samples=sample(Prompts.create(boxes=[[25, 45, 75, 95]]), disc()[None]))


TRAINABLE = ['iou_prediction_head', 'output_hypernetworks_mlps', 'mask_tokens']


def model_config(base: Path | None, **changes) -> dict:
    pretrained = None if base is None else dict(type='Pretrained', checkpoint=str(base))
    return config(trainable=TRAINABLE, init_cfg=pretrained, **changes)


def train(folder: Path, base: Path | None, hooks: tuple[dict, ...] = (), iterations: int = 2, **options) -> Runner:
    settings = dict(
        model=model_config(base),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=Images(),
            batch_size=1,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        optim_wrapper=dict(constructor='TrainableOptimWrapperConstructor', optimizer=dict(type='Adam', lr=0.01)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=iterations)),
        custom_hooks=[dict(type='TrainableCheckpointHook'), *hooks],
        default_scope='mmseg',
        randomness=dict(seed=0),
        experiment_name=f'trainable_{abs(hash((str(folder), iterations)))}',
        log_level='ERROR',
    )
    runner = Runner(**(settings | options))
    runner.train()
    return runner


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> Path:
    """A checkpoint with Meta's names."""
    path = tmp_path_factory.mktemp('base') / 'sam.pth'
    torch.save(stock_sam().state_dict(), path)
    return path


@pytest.fixture(scope='module')
def trained(base, tmp_path_factory) -> tuple[Runner, Path]:
    folder = tmp_path_factory.mktemp('run')
    return train(folder, base), folder / 'iter_2.pth'


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_file_is_small_and_names_its_base(trained, base):
    runner, path = trained
    checkpoint = torch.load(path, weights_only=True)
    trained_names = {name for name, parameter in runner.model.named_parameters() if parameter.requires_grad}
    assert set(checkpoint['state_dict']) == trained_names and trained_names
    assert checkpoint['meta']['base']['file'] == str(base) and len(checkpoint['meta']['base']['sha256']) == 64
    weights = sum(value.numel() * 4 for value in checkpoint['state_dict'].values())
    assert weights < 0.4 * os.path.getsize(base)


def test_loads_back_to_the_same_weights(trained):
    runner, path = trained
    other = segmentor(seed=9)  # without an init_cfg: the base is found where it was
    load_checkpoint(other, str(path), map_location='cpu')
    assert equal(other, runner.model)
    changed = {name for name, value in stock_sam().mask_decoder.state_dict().items()
               if not torch.equal(value, other.mask_decoder.state_dict()[name])}  # fmt: skip
    assert any('mask_tokens' in name for name in changed) and not any('transformer' in name for name in changed)


def test_resumed_training_equals_uninterrupted(base, tmp_path):
    whole = train(tmp_path / 'whole', base, iterations=4)
    train(tmp_path / 'half', base, iterations=2)
    resumed = train(
        tmp_path / 'half', base, train_cfg=dict(type='IterBasedTrainLoop', max_iters=4), iterations=4, resume=True
    )
    assert equal(whole.model, resumed.model)


def test_with_averaged_weights(base, tmp_path):
    """EMAHook exchanges weights in the checkpoint, and its averages are reduced too; in whichever order hooks stand."""
    ema = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.5)
    runner = train(tmp_path, base, hooks=(ema,))
    path = tmp_path / 'iter_2.pth'
    checkpoint = torch.load(path, weights_only=True)
    names = set(checkpoint['state_dict'])
    assert {key.removeprefix('module.') for key in checkpoint['ema_state_dict']} == names | {'steps'}
    averaged = segmentor(seed=9)
    load_checkpoint(averaged, str(path), map_location='cpu')
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    assert equal(averaged, hook.ema_model.module) and not equal(averaged, runner.model)
    resumed = train(tmp_path, base, hooks=(ema,), iterations=2, resume=True)
    assert equal(resumed.model, runner.model)
    hook = next(hook for hook in resumed.hooks if type(hook).__name__ == 'EMAHook')
    assert equal(averaged, hook.ema_model.module)


class FrozenStage(PromptStage):
    """A module with frozen weights that no SAM checkpoint contains."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.randn(CHANNELS))

    def forward(self, features: SAMFeatures, prompts: PromptEmbedding) -> PromptEmbedding:
        return replace(prompts, dense=prompts.dense + self.shift[:, None, None])


def test_frozen_weights_that_the_base_does_not_have(base, tmp_path):
    """Frozen weights that the base lacks (for example of a pretrained feature encoder) are saved, too."""
    stages = [dict(type=FrozenStage)]
    runner = train(tmp_path, base, model=model_config(base, prompt_stages=stages))
    assert 'prompt_stages.0.shift' in torch.load(tmp_path / 'iter_2.pth', weights_only=True)['state_dict']
    other = segmentor(seed=9, prompt_stages=stages)
    assert not torch.equal(other.prompt_stages[0].shift, runner.model.prompt_stages[0].shift)
    load_checkpoint(other, str(tmp_path / 'iter_2.pth'), map_location='cpu')
    assert equal(other, runner.model)


def test_frozen_weights_of_load_from(base, tmp_path):
    """If the model starts from weights other than those of init_cfg, the weights that differ are saved."""
    other = stock_sam()
    with torch.no_grad():
        other.image_encoder.neck[0].weight.mul_(2)
    torch.save(other.state_dict(), tmp_path / 'other.pth')
    runner = train(tmp_path / 'run', base, load_from=str(tmp_path / 'other.pth'))
    assert torch.equal(runner.model.backbone.neck[0].weight, other.image_encoder.neck[0].weight)
    names = set(torch.load(tmp_path / 'run' / 'iter_2.pth', weights_only=True)['state_dict'])
    trained_names = {name for name, parameter in runner.model.named_parameters() if parameter.requires_grad}
    assert names - trained_names == {'backbone.neck.0.weight'}
    model = MODELS.build(model_config(base))
    load_checkpoint(model, str(tmp_path / 'run' / 'iter_2.pth'), map_location='cpu')
    assert equal(model, runner.model)


def test_trained_part_on_a_trained_part(trained, tmp_path):
    """The base may itself be a checkpoint of a trained part; the second checkpoint holds what the first file lacks."""
    first, path = trained
    second = train(tmp_path, path)
    model = segmentor(seed=9)
    load_checkpoint(model, str(tmp_path / 'iter_2.pth'), map_location='cpu')
    assert equal(model, second.model) and not equal(model, first.model)


def moved(path: Path, base: str, sha256: str | None = None) -> dict:
    """Return the checkpoint with another path of its base."""
    checkpoint = torch.load(path, weights_only=True)
    named = checkpoint['state_dict']._metadata['']['mmsam_ext_base']
    named['file'] = base
    named['sha256'] = sha256 or named['sha256']
    return checkpoint


def test_base_is_looked_for_where_the_config_says_first(trained, base, tmp_path):
    runner, path = trained
    torch.save(moved(path, '/nowhere/sam.pth'), tmp_path / 'moved.pth')
    model = MODELS.build(model_config(base))
    load_checkpoint(model, str(tmp_path / 'moved.pth'), map_location='cpu')
    assert equal(model, runner.model)


def test_errors(trained, base, tmp_path):
    _, path = trained
    torch.save(moved(path, '/nowhere/sam.pth'), tmp_path / 'moved.pth')
    with raises_naming(FileNotFoundError, '/nowhere/sam.pth', 'model.init_cfg.checkpoint'):
        load_checkpoint(segmentor(), str(tmp_path / 'moved.pth'), map_location='cpu')
    torch.save(segmentor(seed=3).state_dict(), tmp_path / 'other.pth')
    model = MODELS.build(model_config(tmp_path / 'other.pth'))
    with raises_naming(FileNotFoundError, 'other.pth', 'another file', 'model.init_cfg.checkpoint'):
        load_checkpoint(model, str(tmp_path / 'moved.pth'), map_location='cpu')


def special_files(folder: Path) -> dict[str, str]:
    """Places that a checkpoint of a stranger could name as its base, and what the error names."""
    os.mkfifo(folder / 'pipe.pth')
    (folder / 'notes.txt').write_text('root:x:0:0')
    return {
        '/dev/zero': 'device', '/etc': 'folder', str(folder / 'pipe.pth'): 'named pipe',
        str(folder / 'notes.txt'): 'notes.txt', 'http://127.0.0.1:1/sam.pth': 'http://127.0.0.1:1/sam.pth',
        's3://bucket/sam.pth': 's3://bucket/sam.pth', '/tmp/\x1b[31msam.pth': 'file', 'a\0b': 'file',
        'mmsam_ext://none': 'mmsam_ext://none', 'x' * 10_000: 'file',
    }  # fmt: skip


def test_bases_that_are_no_checkpoints(trained, tmp_path):
    """Only regular files that begin as checkpoints do are read, and no server is contacted."""
    for base, kind in special_files(tmp_path).items():
        checkpoint = moved(trained[1], base)
        del checkpoint['state_dict']._metadata['']['mmsam_ext_base']['size']  # as older versions wrote them
        torch.save(checkpoint, tmp_path / 'moved.pth')
        with raises_naming(FileNotFoundError, 'model.init_cfg.checkpoint', kind) as error:
            load_checkpoint(segmentor(), str(tmp_path / 'moved.pth'), map_location='cpu')
        assert '\x1b' not in str(error.value) and len(str(error.value)) < 3000


def test_base_of_another_size_is_not_hashed(trained, base, tmp_path, monkeypatch):
    checkpoint = moved(trained[1], str(base))
    checkpoint['state_dict']._metadata['']['mmsam_ext_base']['size'] += 1
    torch.save(checkpoint, tmp_path / 'moved.pth')
    monkeypatch.setattr('mmsam_ext.checkpoints.base.file_hash', lambda name: pytest.fail('hashed'))
    with raises_naming(FileNotFoundError, base.name, checkpoint['state_dict']._metadata['']['mmsam_ext_base']['size']):
        load_checkpoint(segmentor(), str(tmp_path / 'moved.pth'), map_location='cpu')


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('', 'sam.pth'), ('', ['sam.pth', 'a' * 64]), ('file', None), ('file', 7), ('file', ''), ('sha256', None),
        ('sha256', 5), ('sha256', 'xyz'), ('sha256', 'A' * 64), ('size', '12'), ('size', True), ('size', 1.5),
    ],
)  # fmt: skip
def test_wrong_types_in_the_record(field, value, trained, base, tmp_path):
    checkpoint = moved(trained[1], str(base))
    metadata = checkpoint['state_dict']._metadata['']
    if field:
        metadata['mmsam_ext_base'][field] = value
    else:
        metadata['mmsam_ext_base'] = value
    torch.save(checkpoint, tmp_path / 'wrong.pth')
    with raises_naming(CheckpointError, f'mmsam_ext_base{field and "." + field}', repr(value)):
        load_checkpoint(segmentor(), str(tmp_path / 'wrong.pth'), map_location='cpu')


def test_error_without_a_base(base, tmp_path):
    with raises_naming(ValueError, 'TrainableCheckpointHook', 'init_cfg'):
        train(tmp_path, None)
    with raises_naming(FileNotFoundError, 'gone.pth'):
        train(tmp_path, tmp_path / 'gone.pth')


def test_trained_keys_hold_statistics_of_trained_parts():
    """Running statistics of trained batch norms are saved; those of frozen ones come from the base."""
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    freeze_all_but(model, [r'^1\.weight', r'2\.0\.bias'])
    assert trained_keys(model) == {
        '1.weight', '1.running_mean', '1.running_var', '1.num_batches_tracked', '2.0.bias',
    }  # fmt: skip
