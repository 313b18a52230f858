"""A model of two numbers and the Runner around it: real mmengine training, checkpoints and all, in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn


class ToyModel(BaseModel):
    """y = w x + b, with the squared error as its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        nn.init.zeros_(self.linear.weight)  # not random: built before the Runner sets its seed
        nn.init.zeros_(self.linear.bias)

    def forward(self, inputs: Tensor, target: Tensor, mode: str = 'tensor') -> Any:
        """inputs and target (B, 1) -> dict of losses in mode 'loss', otherwise (B, 1)."""
        output = self.linear(inputs)
        return dict(loss=(output - target).square().mean()) if mode == 'loss' else output


class ToyData(torch.utils.data.Dataset):
    """Eight points on y = 3 x + 1."""

    metainfo = dict(classes=('line',))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x = torch.tensor([index / 8])
        return dict(inputs=x, target=3 * x + 1)


def toy_runner(work_dir: Path | str, iterations: int = 4, **options: Any) -> Runner:
    """A seeded CPU Runner on the toy, with a checkpoint every two iterations; `options` replace its arguments."""
    arguments = dict(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=ToyData(),
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=dict(type='PolyLR', end=iterations, by_epoch=False),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
            logger=dict(type='LoggerHook', interval=1),
        ),
        default_scope='mmseg',
        randomness=dict(seed=0),
        experiment_name=f'toy_{abs(hash((str(work_dir), iterations, str(options))))}',
        log_level='WARNING',
    )
    return Runner(**(arguments | options))
