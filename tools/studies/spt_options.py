"""What the code of SPT's authors suggests of training, and its paper does not say: does any of it help on the test bed?

Losses on points drawn by uncertainty in place of all pixels, gradients through VRA's relation, large-scale jitter, and
all of them; each against SPT with LoRA as in the study `spt`, from which schedule and learning rate are taken. Two
untrained rows show what their evaluation changes: prompts from the resized mask, images resized without antialiasing,
logits resized to the original size in one step.
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from .spt import BATCH, PLAIN, PROTOCOL, peft
from .study import Claim, Column, Study, Variant, read_config

AUTHORS = read_config('spt_tiny_mtd_authors')
POINT_LOSS = {'model.losses': dict(AUTHORS.model.losses.to_dict(), _delete_=True)}
GRADIENTS = {'model.mask_decoder.decoder.plugins': [dict(type='VRAAdapter', dim=128, detach=False)]}


def jitter(config: Config) -> dict[str, Any]:
    """Large-scale jitter in place of the resize, as the base of the authors' config has it."""
    return {'train_dataloader.dataset.pipeline': AUTHORS.train_dataloader.dataset.pipeline}


def everything(config: Config) -> dict[str, Any]:
    """All three."""
    return {**POINT_LOSS, **GRADIENTS, **jitter(config), **peft('lora')}


def authors_evaluation(config: Config) -> dict[str, Any]:
    """Prompts from the mask at the size of the input, images and logits resized as the authors do; not trained."""
    evaluation = {'test_dataloader.dataset.pipeline': AUTHORS.test_dataloader.dataset.pipeline}
    return {**PLAIN, **evaluation, 'model.test_cfg': AUTHORS.model.test_cfg}


TRAINED = ('SPT + point loss', 'SPT + relation gradients', 'SPT + large-scale jitter', 'SPT + all three')

SPT_OPTIONS = Study(
    name='spt_options',
    config='spt_tiny_{data}',
    data=('mtd',),
    iterations=120,
    options=dict(mtd=BATCH),
    variants=(
        Variant('zero-shot', PLAIN, trained=False),
        Variant('zero-shot, evaluated as by the authors', authors_evaluation, trained=False),
        Variant('SPT', peft('lora')),
        Variant(TRAINED[0], {**peft('lora'), **POINT_LOSS}),
        Variant(TRAINED[1], {**peft('lora'), **GRADIENTS}),
        Variant(TRAINED[2], lambda config: {**peft('lora'), **jitter(config)}),
        Variant(TRAINED[3], everything),
    ),
    columns=(
        *(
            Column(f'{mode} {metric}', f'{metric}/{mode}')
            for mode in PROTOCOL.test_modes
            for metric in ('mIoU', 'mBIoU')
        ),
        Column('mean mIoU', 'mIoU'),
        Column('mean mBIoU', 'mBIoU'),
    ),
    claims=tuple(Claim(name, 'SPT', metric) for name in TRAINED for metric in ('mIoU', 'mBIoU')),
)
