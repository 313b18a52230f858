"""SPT's comparison (Tables 1 and 2): LoRA, DoRA and Adapter alone, with SDT, with VRA, with both; and no training.

Training is short, 120 steps of 4 images with 4 prompts each, so that all of it takes a few hours on two cores. LoRA and
DoRA have the scale and the rate of `spt_tiny_mtd.py`, with which LoRA + SPT had the highest mIoU on a part of MTD's
train split held out (configs/methods/spt.md); the Adapters' rate was chosen by the loss on the train split.
"""

from __future__ import annotations

from typing import Any

from .study import Claim, Column, Study, Variant, read_config

PROTOCOL = read_config('_base_/prompts/spt_protocol')
PEFT = ('LoRA', 'DoRA', 'Adapter')
METRICS = ('mIoU', 'mBIoU')
#: Parts left out.
NO_VRA = {'model.mask_decoder.decoder.plugins': []}
NO_SDT = {'model.mask_decoder.num_drafts': 0, 'model.peft.draft': None}
PLAIN = {**NO_VRA, 'model.mask_decoder.num_drafts': 0, 'model.peft': (), 'model.trainable': ()}


def peft(name: str) -> dict[str, Any]:
    """The rules of one of configs/_base_/peft in place of the config's, with the scale and rate for short training."""
    config = read_config(f'_base_/peft/{name}')
    rules = config.peft.to_dict()
    if name != 'adapter':
        rules = {part: dict(rule, alpha=8) for part, rule in rules.items()}
    return {
        'model.peft': dict(rules, _delete_=True),
        'model.trainable': config.trainable,
        'optim_wrapper.optimizer.lr': 4e-3 if name == 'adapter' else 6e-3,
    }


def with_and_without(title: str, name: str) -> list[Variant]:
    """The four rows of a PEFT method."""
    return [
        Variant(title, {**peft(name), **NO_VRA, **NO_SDT}),
        Variant(f'{title} + SDT', {**peft(name), **NO_VRA}),
        Variant(f'{title} + VRA', {**peft(name), **NO_SDT}),
        Variant(f'{title} + SPT', peft(name)),
    ]


BATCH = {'train_dataloader.batch_size': 4}
#: The paper's four modes on the procedural defects, too.
SYNTHETIC = {
    'test_dataloader.dataset.pipeline': [
        dict(type='GeneratePrompts', modes=PROTOCOL.test_modes.to_dict(), seed=0),
        dict(type='Resize', scale=(256, 256), keep_ratio=False, backend='pillow'),
        dict(type='PackPromptInputs'),
    ],
    'test_evaluator': [dict(type='PromptIoUMetric', mode_groups=PROTOCOL.mode_groups.to_dict())],
}

SPT = Study(
    name='spt',
    config='spt_tiny_{data}',
    data=('mtd', 'synthetic'),
    iterations=120,
    options=dict(mtd=BATCH, synthetic={**BATCH, **SYNTHETIC}),
    variants=(
        Variant('zero-shot', PLAIN, trained=False),
        Variant('zero-shot SDT', {**PLAIN, 'model.mask_decoder.num_drafts': 1}, trained=False),
        *with_and_without('LoRA', 'lora'),
        *with_and_without('DoRA', 'dora'),
        *with_and_without('Adapter', 'adapter'),
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
    claims=(
        *(Claim(f'{title} + SPT', title, key) for title in PEFT for key in METRICS),
        *(Claim(title, 'zero-shot', 'mIoU') for title in PEFT),
        *(Claim(f'{title} + {part}', title, 'mIoU') for part in ('SDT', 'VRA') for title in PEFT),
    ),
)
