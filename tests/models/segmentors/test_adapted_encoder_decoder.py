"""LoRA and checkpoints of the trained part on MMSegmentation's own EncoderDecoder, through a Runner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner, load_checkpoint
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.naming import raises_naming
from tests.shrink import unique_name

NORM = dict(type='BN')


def config(base: Path | None = None, **changes: object) -> dict:
    model = dict(
        type='AdaptedEncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
        backbone=dict(
            type='VisionTransformer', img_size=(32, 32), patch_size=8, embed_dims=16, num_layers=2, num_heads=2,
            out_indices=1,
        ),
        decode_head=dict(
            type='FCNHead', in_channels=16, channels=8, num_convs=1, num_classes=2, norm_cfg=NORM, align_corners=False
        ),
        test_cfg=dict(mode='whole'),
        peft=[dict(type='LoRA', modules=r'backbone\.layers\.\d\.ffn\.', rank=2)],
        trainable=['lora_', r'^decode_head\.conv_seg'],
        init_cfg=None if base is None else dict(type='Pretrained', checkpoint=str(base)),
    )  # fmt: skip
    return model | changes


class Images(torch.utils.data.Dataset):
    """Two images, white in the middle."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict:
        labels = torch.zeros(1, 32, 32, dtype=torch.int64)
        labels[:, 8:24, 8:24] = 1
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
        sample.gt_sem_seg = PixelData(data=labels)
        return dict(inputs=(labels * 200 + index).expand(3, -1, -1).to(torch.uint8), data_samples=sample)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A stock EncoderDecoder's file."""
    stock = config(type='EncoderDecoder')
    stock = {key: value for key, value in stock.items() if key not in ('peft', 'trainable')}
    torch.save(MODELS.build(stock).state_dict(), tmp_path / 'base.pth')
    return tmp_path / 'base.pth'


def test_trained_part_of_a_stock_segmentor(base: Path, tmp_path: Path) -> None:
    runner = Runner(
        model=config(base),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=dict(
            dataset=Images(), batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
        optim_wrapper=dict(constructor='TrainableOptimWrapperConstructor', optimizer=dict(type='Adam', lr=0.01)),
        default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2)),
        custom_hooks=[dict(type='TrainableCheckpointHook')],
        default_scope='mmseg',
        experiment_name=unique_name(),
    )  # fmt: skip
    trained = runner.train()
    path = tmp_path / 'work' / 'iter_2.pth'
    saved = torch.load(path, weights_only=True)
    assert all('lora_' in key or 'conv_seg' in key for key in saved['state_dict'])
    assert len(saved['optimizer']['state']) == 2 * 2 * 2 + 2  # two layers of two FFN matrices; weight and bias
    before = torch.load(base, weights_only=True)
    assert torch.equal(trained.state_dict()['backbone.pos_embed'], before['backbone.pos_embed'])
    assert not torch.equal(trained.state_dict()['decode_head.conv_seg.bias'], before['decode_head.conv_seg.bias'])

    other = MODELS.build(config(base))
    load_checkpoint(other, str(path), map_location='cpu')
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in trained.state_dict().items())
    base.unlink()
    with raises_naming(FileNotFoundError, base):
        load_checkpoint(MODELS.build(config(base)), str(path), map_location='cpu')


def test_frozen_parts_stay_in_eval_mode_and_wrong_patterns_are_named() -> None:
    model = MODELS.build(config()).train()
    assert model.decode_head.conv_seg.training and not model.decode_head.convs.training
    with raises_naming(ValueError, 'no_such_layer'):
        MODELS.build(config(peft=[dict(type='LoRA', modules='no_such_layer')]))
