"""HQ-SAM and Stable-SAM together (Stable-SAM's Table 7) on the mini SAM.

The mini HQ head is HQ-SAM's: SAM is frozen, and the loss is on the mask of the high-quality token alone. It is trained
with good prompts, as published. Stable-SAM's plugins are then trained robustly in the decoder of the frozen HQ-SAM of
the same seed. Images, prompts and the plugins' rates are those of the study `stable_sam`, with a quarter of its steps
and of its draws of test prompts, for time. There is no row for HQ-SAM with robust training and without plugins, so
that the two cannot be told apart. The head's rate is the published one: on MTD, with robust training and a seed that is
not reported, 3e-3 gave the same training loss within its noise (0.657 and 0.640, the means of steps 51 to 110, where
that trial was stopped).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mmengine.config import Config

from .stable_sam import BATCH, EPOCH, NO_PLUGINS, RATE, STABLE_SAM, name, variant
from .stable_sam_more import changed
from .study import Claim, Study, Variant, read_config

HQ_CONFIG = read_config('hq_sam_vitl_hqseg44k').model
HQ_RATE = 1e-3
#: Passes over the training images, and random draws of each test prompt: a quarter of those of `stable_sam`.
EPOCHS, DRAWS = 3, 5
TESTED = ('box', 'box noise 0.4', '1 point')
#: HQ-SAM's decoder on the mini SAM, whose first block with global attention is the second of 8, 192 wide.
DECODER: dict[str, Any] = {
    'model.backbone.out_indices': (1,),
    'model.mask_decoder.type': 'HQMaskDecoder',
    'model.mask_decoder.early_dim': 192,
}
HEAD = {**NO_PLUGINS, **DECODER, 'model.trainable': HQ_CONFIG.trainable, RATE: HQ_RATE}
BOTH = {**DECODER, 'model.mask_decoder.hq_only': False}
HQ, STABLE = 'HQ', name('DSP + DRP', True)
HQ_STABLE_ROW = f'{HQ} + {STABLE}'
PIPELINE = 'test_dataloader.dataset.pipeline'
KEYS = ('mIoU/box', 'mIoU/box noise 0.4', 'ST/box noise 0.4', 'mIoU/1 point', 'ST/1 point')


def few_draws(options: Callable[[Config], dict]) -> Callable[[Config], dict]:
    """Return the options of some data with fewer test prompts."""

    def fewer(config: Config) -> dict:
        result = options(config)
        steps = copy.deepcopy(result[PIPELINE])
        for step in steps:
            if step['type'] == 'GeneratePrompts':
                step['modes'] = {mode: dict(step['modes'][mode]) for mode in TESTED}
                for mode in TESTED[1:]:
                    step['modes'][mode]['draws'] = DRAWS
        return {**result, PIPELINE: steps}

    return fewer


HQ_STABLE = Study(
    name='hq_stable',
    config=STABLE_SAM.config,
    data=STABLE_SAM.data,
    iterations={data: images // BATCH * EPOCHS for data, images in EPOCH.items()},
    options={data: few_draws(options) for data, options in STABLE_SAM.options.items()},
    variants=(
        Variant('zero-shot', {**NO_PLUGINS, 'model.trainable': ()}, trained=False),
        changed(HQ, variant('', 'DSP', robust=False), HEAD),
        variant(STABLE, 'DSP + DRP', robust=True),
        replace(changed(HQ_STABLE_ROW, variant('', 'DSP + DRP', robust=True), BOTH), after=HQ),
    ),
    columns=tuple(column for column in STABLE_SAM.columns if column.key.split('/')[1] in TESTED),
    claims=(
        *(Claim(HQ, 'zero-shot', key) for key in KEYS),
        *(Claim(HQ_STABLE_ROW, HQ, key) for key in KEYS),
        *(Claim(HQ_STABLE_ROW, STABLE, key) for key in KEYS),
    ),
)
