"""Stable-SAM's comparison (Tables 2, 6, 7 and 8): deformable sampling against tuning, with and without robust training.

An epoch is the 232 images of MTD's train split in batches of 4, 58 steps, or half as many procedural ones. Images are
of 256 x 256. One epoch, and a quarter of the data, are on MTD alone.

Learning rates are those of the least training loss on MTD, with robust training, in the last 50 of 150 steps under a
seed that is not reported: of up to four, a factor of 3 apart, for each method. The router's is a tenth of it: at the
full rate the loss does not fall below zero-shot SAM's.
"""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from .study import Claim, Column, Study, Variant, read_config

IMAGES, BATCH, EPOCHS = 232, 4, 12
#: Images of an epoch.
EPOCH = dict(mtd=IMAGES, synthetic=IMAGES // 2)
MODES = read_config('_base_/prompts/prompt_quality').test_modes
TESTED = ('box', 'box noise 0.4', '1 point', '3 points')
SIZE = (256, 256)
NO_PLUGINS = {'model.mask_decoder.plugins': []}
RATE = 'optim_wrapper.optimizer.lr'

#: What is trained: as in configs/{dt,pt,lora,adapter}_sam_rts_vitl_hqseg44k.py, and deformable sampling.
METHODS: dict[str, dict[str, Any]] = {
    'DT-SAM': {**NO_PLUGINS, RATE: 3e-4, 'model.trainable': [r'^mask_decoder\.(?!iou_prediction_head)']},
    'PT-SAM': {**NO_PLUGINS, RATE: 1e-2, 'model.trainable': [r'^mask_decoder\.mask_tokens']},
    'LoRA': {
        **NO_PLUGINS,
        RATE: 1e-2,
        'model.peft': read_config('lora_sam_rts_vitl_hqseg44k').model.peft,
        'model.trainable': read_config('lora_sam_rts_vitl_hqseg44k').model.trainable,
    },
    'Adapter': {
        **NO_PLUGINS,
        RATE: 3e-3,
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


def few_images(config: Config) -> dict[str, Any]:
    """As :func:`on_data`; the procedural images of an epoch."""
    return {**on_data(config), 'train_dataloader.dataset.dataset.length': EPOCH['synthetic']}


def variant(
    name: str, method: str, robust: bool, occlusion: bool = True, epochs: int = EPOCHS, every: int = 1
) -> Variant:
    """A row.

    Args:
        name: Its name.
        method: One of METHODS.
        robust: With robust training; otherwise with good prompts alone.
        occlusion: Synthetic occlusion is a part of robust training.
        epochs: Passes over the training images.
        every: Train on every n-th image only.
    """

    def options(config: Config) -> dict[str, Any]:
        changed = dict(METHODS[method])
        if not robust:
            changed['train_dataloader.dataset.pipeline'] = config.clean_pipeline
        elif not occlusion:
            steps = config.train_dataloader.dataset.pipeline
            kept = [step for step in steps if step['type'] != 'SynthesizeOcclusion']
            changed['train_dataloader.dataset.pipeline'] = kept
        if every > 1:
            changed['train_dataloader.dataset.dataset.indices'] = list(range(0, IMAGES, every))
        return changed

    short = epochs < EPOCHS or every > 1
    return Variant(name, options, share=epochs / EPOCHS / every, data=('mtd',) if short else ())


def name(method: str, robust: bool) -> str:
    """Name a variant with or without robust training."""
    return f'{method} + RTS' if robust else method


def unoccluded(method: str) -> str:
    """Name the robustly trained variant that sees no occlusion."""
    return f'{name(method, True)} without occlusion'


#: DRP comes with robust training, as in Table 6.
PAIRS = [(method, robust) for method in METHODS for robust in (False, True) if robust or method != 'DSP + DRP']

#: What synthetic occlusion has to do with what robust training costs boxes: asked after the results of two seeds.
UNOCCLUDED = ('LoRA', 'Adapter')

STABLE_SAM = Study(
    name='stable_sam',
    config='stable_sam_tiny_{data}',
    data=('mtd', 'synthetic'),
    iterations={data: images // BATCH * EPOCHS for data, images in EPOCH.items()},
    options=dict(mtd=small_tiles, synthetic=few_images),
    variants=(
        Variant('zero-shot', {**NO_PLUGINS, 'model.trainable': ()}, trained=False),
        *(variant(name(*pair), *pair) for pair in PAIRS),
        *(variant(unoccluded(method), method, robust=True, occlusion=False) for method in UNOCCLUDED),
        *(variant(f'{name(*pair)}, 1 epoch', *pair, epochs=1) for pair in PAIRS),
        *(variant(f'{name(*pair)}, 1/4 of the data', *pair, every=4) for pair in PAIRS if pair[1]),
    ),
    columns=(
        Column('box mIoU', 'mIoU/box'),
        *(Column(f'{mode} {metric}', f'{metric}/{mode}') for mode in TESTED[1:] for metric in ('mIoU', 'mBIoU', 'ST')),
    ),
    claims=(
        *(Claim('DSP', 'zero-shot', f'{metric}/box noise 0.4') for metric in ('mIoU', 'ST')),
        *(
            Claim(name(method, True), method, f'{metric}/{mode}')
            for mode in ('box noise 0.4', '1 point')
            for metric in ('mIoU', 'ST')
            for method in METHODS
            if method != 'DSP + DRP'
        ),
        *(
            Claim('DSP + DRP + RTS', 'DSP + RTS', f'{metric}/{mode}')
            for mode in ('box noise 0.4', '1 point')
            for metric in ('mIoU', 'ST')
        ),
        *(
            Claim(unoccluded(method), worse, key)
            for key in ('mIoU/box', 'mIoU/box noise 0.4', 'ST/box noise 0.4', 'mIoU/1 point')
            for method in UNOCCLUDED
            for worse in (name(method, True), method)
        ),
        Claim('DSP + DRP + RTS, 1/4 of the data', 'PT-SAM + RTS, 1/4 of the data', 'mIoU/box noise 0.4'),
    ),
)
