"""Training stops when a loss is NaN or infinite, and the error names the loss and the iteration."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseModel
from mmseg.structures import SegDataSample
from torch import nn

from tests.naming import assert_names
from tests.toy import toy_runner


class Diverging(BaseModel):
    """A loss that turns NaN at its third step."""

    def __init__(self, bad: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.steps, self.bad = 0, bad

    def forward(self, inputs, data_samples, mode='loss'):
        self.steps += 1
        factor = self.bad if self.steps == 3 else 1.0
        return dict(loss_bce=(self.weight * factor).sum(), loss_dice=self.weight.sum())


class Samples(torch.utils.data.Dataset):
    metainfo: dict = {}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.zeros(1), data_samples=SegDataSample(metainfo=dict(sample_id=f'sample {index}')))


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_stops_and_says_where(tmp_path, bad):
    runner = toy_runner(
        tmp_path,
        iterations=6,
        model=Diverging(bad),
        train_dataloader=dict(
            dataset=Samples(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        custom_hooks=[dict(type='InvalidLossHook')],
    )
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    text = str(error.value)
    assert_names(text, 'iteration 3', "'loss': ", "'loss_bce': ", "['sample 4', 'sample 5']")
    assert 'loss_dice' not in text
    # No checkpoint of the broken step.
    assert sorted(path.name for path in tmp_path.glob('iter_*.pth')) == ['iter_1.pth', 'iter_2.pth']


def test_finite_losses_pass(tmp_path):
    toy_runner(tmp_path, iterations=2, custom_hooks=[dict(type='InvalidLossHook')]).train()
