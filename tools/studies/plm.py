"""PLM's comparison: SAM, SAM-F, PLM, PLM + PMM; with less data; trained with boxes or points alone.

Training is short, 200 steps of 4 images with 4 prompts each, so that all of it takes an hour and a half on two cores.
Learning rates, of 1e-3 and 4e-3 for PLM and of 3e-4 and 1e-3 for SAM-F, are those with the lower training loss of the
last 60 steps, on both data together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from .study import Claim, Column, Options, Study, Variant

IMAGES = 232  # of MTD's train split
#: What of the model there is, and what of it is trained: as in configs/{sam-f,plm-only,plm}_tiny_parts.py.
SAM = {'model.prompt_stages': [], 'model.auxiliary_heads': [], 'model.trainable': ()}
RATE = {'optim_wrapper.optimizer.lr': 1e-3}
METHODS: dict[str, dict[str, Any]] = {
    'SAM-F': {**SAM, 'model.trainable': [r'^mask_decoder\.']},
    'PLM': {'model.auxiliary_heads': [], 'model.trainable': [r'^prompt_stages\.'], **RATE},
    'PLM + PMM': RATE,
}
SHARES = (10, 25, 50)
#: Compared with less data.
COMPARED = ('SAM-F', 'PLM + PMM')
BATCH = {'train_dataloader.batch_size': 4}


def less_data(options: Mapping[str, Any], percent: int) -> Options:
    """A variant's options with so much of the training images, evenly spread; as many steps."""

    def changed(config: Config) -> dict[str, Any]:
        images = config.train_dataloader.dataset.get('length', IMAGES)
        number = images * percent // 100
        return {**options, 'train_dataloader.dataset.indices': [index * images // number for index in range(number)]}

    return changed


def trained_with(mode: str, title: str) -> Variant:
    """PLM and PMM, trained with one kind of prompt."""

    def changed(config: Config) -> dict[str, Any]:
        pipeline = [
            dict(step, modes={mode: step['modes'][mode]}) if step['type'] == 'GeneratePrompts' else step
            for step in config.train_dataloader.dataset.pipeline
        ]
        return {**RATE, 'train_dataloader.dataset.pipeline': pipeline}

    return Variant(title, changed)


PLM = Study(
    name='plm',
    config='plm_tiny_{data}',
    data=('parts', 'mtd'),
    iterations=200,
    options=dict(parts=BATCH, mtd=BATCH),
    variants=(
        Variant('SAM', SAM, trained=False),
        *(Variant(method, options) for method, options in METHODS.items()),
        *(
            Variant(f'{method}, {percent} % of the data', less_data(METHODS[method], percent))
            for percent in SHARES
            for method in COMPARED
        ),
        trained_with('1 point', 'PLM + PMM, trained with points alone'),
        trained_with('box', 'PLM + PMM, trained with boxes alone'),
    ),
    columns=(
        *(Column(f'1 point {metric}', f'{metric}/1 point') for metric in ('mIoU', 'mBIoU', 'ST')),
        *(Column(f'box {metric}', f'{metric}/box') for metric in ('mIoU', 'mBIoU')),
    ),
    claims=(
        *(Claim(method, 'SAM', 'mIoU/1 point') for method in METHODS),
        *(Claim('PLM', 'SAM-F', f'{metric}/1 point') for metric in ('mIoU', 'ST')),
        *(
            Claim(f'PLM + PMM, {percent} % of the data', f'SAM-F, {percent} % of the data', 'mIoU/1 point')
            for percent in SHARES
        ),
        Claim('PLM + PMM', 'PLM', 'mIoU/1 point'),
        Claim('PLM + PMM', 'PLM', 'mBIoU/1 point'),
    ),
)
