"""Stable-SAM's comparison (Tables 2, 6, 7 and 8): deformable sampling against tuning, with and without robust training.

An epoch is the 232 images of MTD's train split in batches of 4, and as many procedural ones: 58 steps. Images are of
256 x 256. One epoch, and a quarter of the data, are on MTD alone.
"""

from __future__ import annotations

from typing import Any

from _study import Claim, Column, Study, Variant, read_config
from mmengine.config import Config

IMAGES, EPOCH, EPOCHS = 232, 58, 12
MODES = read_config('_base_/prompts/prompt_quality').test_modes
TESTED = ('box', 'box noise 0.4', '1 point', '3 points')
SIZE = (256, 256)
NO_PLUGINS = {'model.mask_decoder.plugins': []}

#: What is trained: as in configs/{dt,pt,lora,adapter}_sam_rts_vitl_hqseg44k.py, and deformable sampling.
METHODS: dict[str, dict[str, Any]] = {
    'DT-SAM': {**NO_PLUGINS, 'model.trainable': [r'^mask_decoder\.(?!iou_prediction_head)']},
    'PT-SAM': {**NO_PLUGINS, 'model.trainable': [r'^mask_decoder\.mask_tokens']},
    'LoRA': {
        **NO_PLUGINS,
        'model.peft': read_config('lora_sam_rts_vitl_hqseg44k').model.peft,
        'model.trainable': read_config('lora_sam_rts_vitl_hqseg44k').model.trainable,
    },
    'Adapter': {
        **NO_PLUGINS,
        'model.peft': read_config('adapter_sam_rts_vitl_hqseg44k').model.peft,
        'model.trainable': read_config('adapter_sam_rts_vitl_hqseg44k').model.trainable,
    },
    'DSP': {'model.mask_decoder.plugins': [dict(type='DeformableSamplingPlugin', dim=128)]},
    'DSP + DRP': {},
}


def on_data(config: Config) -> dict[str, Any]:
    """The prompts that the table has, and no others: the rest would take most of the time."""
    pipeline = config.test_dataloader.dataset.pipeline
    kept = [step for step in pipeline if not set(step.get('modes', ())).isdisjoint(TESTED) or 'modes' not in step]
    modes = {mode: MODES[mode].to_dict() for mode in TESTED}
    steps = [dict(step, modes=modes) if step['type'] == 'GeneratePrompts' else step for step in kept]
    return {'test_dataloader.dataset.pipeline': resized(steps)}


def resized(pipeline: list[dict]) -> list[dict]:
    """A pipeline at the procedural images' size."""
    return [dict(step, scale=SIZE) if step['type'] == 'Resize' else step for step in pipeline]


def small_tiles(config: Config) -> dict[str, Any]:
    """As :func:`on_data`, of MTD at the procedural images' size."""
    pipeline = resized(config.train_dataloader.dataset.pipeline)
    return {
        **on_data(config),
        'model.data_preprocessor.size': SIZE,
        'train_dataloader.dataset.pipeline': pipeline,
        'clean_pipeline': resized(config.clean_pipeline),
    }


def as_many_images(config: Config) -> dict[str, Any]:
    """As :func:`on_data`; of the procedural images as many as MTD has."""
    return {**on_data(config), 'train_dataloader.dataset.dataset.length': IMAGES}


def variant(name: str, method: str, robust: bool, epochs: int = EPOCHS, every: int = 1) -> Variant:
    """A row.

    Args:
        name: Its name.
        method: One of METHODS.
        robust: With robust training; otherwise with good prompts alone.
        epochs: Passes over the training images.
        every: Train on every so many of the images.
    """

    def options(config: Config) -> dict[str, Any]:
        changed = dict(METHODS[method])
        if not robust:
            changed['train_dataloader.dataset.pipeline'] = config.clean_pipeline
        if every > 1:
            changed['train_dataloader.dataset.dataset.indices'] = list(range(0, IMAGES, every))
        return changed

    short = epochs < EPOCHS or every > 1
    return Variant(name, options, share=epochs / EPOCHS / every, data=('mtd',) if short else ())


def name(method: str, robust: bool) -> str:
    return f'{method} + RTS' if robust else method


#: DRP comes with robust training, as in Table 6.
PAIRS = [(method, robust) for method in METHODS for robust in (False, True) if robust or method != 'DSP + DRP']

STABLE_SAM = Study(
    name='stable_sam',
    config='stable_sam_tiny_{data}',
    data=('mtd', 'synthetic'),
    iterations=EPOCH * EPOCHS,
    options=dict(mtd=small_tiles, synthetic=as_many_images),
    variants=(
        Variant('zero-shot', {**NO_PLUGINS, 'model.trainable': ()}, trained=False),
        *(variant(name(*pair), *pair) for pair in PAIRS),
        *(variant(f'{name(*pair)}, 1 epoch', *pair, epochs=1) for pair in PAIRS),
        *(variant(f'{name(*pair)}, 1/4 of the data', *pair, every=4) for pair in PAIRS if pair[1]),
    ),
    columns=(
        Column('box mIoU', 'mIoU/box'),
        *(Column(f'{mode} {metric}', f'{metric}/{mode}') for mode in TESTED[1:] for metric in ('mIoU', 'mBIoU', 'ST')),
    ),
    claims=(
        *(Claim('DSP', 'zero-shot', f'{metric}/box noise 0.4') for metric in ('mIoU', 'ST')),
        *(Claim(name(method, True), method, 'ST/box noise 0.4') for method in METHODS if method != 'DSP + DRP'),
        *(Claim('DSP + DRP + RTS', 'DSP + RTS', f'{metric}/1 point') for metric in ('mIoU', 'ST')),
        Claim('DSP + DRP + RTS, 1/4 of the data', 'PT-SAM + RTS, 1/4 of the data', 'mIoU/box noise 0.4'),
    ),
)
