"""Stable-SAM once more: deformable sampling trained without occlusion, without amplitudes, and PT-SAM's MLP.

In the study `stable_sam` synthetic occlusion turned out to cost LoRA and Adapter what robust training gains; deformable
sampling was not trained without it. Its ST falls on defects that are thinner than a cell, where its amplitudes, not its
offsets, were found to do the harm (configs/results/thin_defects.md); hence the rows whose amplitudes stay at 1. PT-SAM
with its hypernetwork MLP is that of the paper's size. Schedule, data and rates are those of `stable_sam`, whose page
has the rows with occlusion and PT-SAM's token alone; the rate of PT-SAM with MLP is that of Adapter, not chosen by a
search.
"""

from __future__ import annotations

from dataclasses import replace

from mmengine.config import Config

from .stable_sam import METHODS, NO_PLUGINS, RATE, STABLE_SAM, unoccluded, variant
from .study import Claim, Options, Study, Variant, read_config

PT_MLP = read_config('pt-mlp_sam_rts_vitl_hqseg44k').model
#: The gate of the amplitudes starts at 0, where all amplitudes are 1; not trained, it stays there.
OFFSETS_ALONE = {'model.trainable': [r'^mask_decoder\.plugins\.(?!.*\.gate$)']}
WITH_MLP = {
    'model.mask_decoder.plugins': [dict(type='MaskTokenPlugin', dim=128)],
    RATE: METHODS['Adapter'][RATE],
    'model.trainable': PT_MLP.trainable,
}


def changed(title: str, row: Variant, options: Options) -> Variant:
    """Return a row with further options, under another name."""

    def both(config: Config) -> dict:
        return {**row.options(config), **options}

    return replace(row, name=title, options=both)


#: Without occlusion an image has three forms, by its flips, and the encoder is frozen: each is encoded once in all.
CACHE = {'default_hooks.embedding_cache': dict(type='EmbeddingCacheHook', path='work_dirs/embeddings')}
SAMPLING = ('DSP', 'DSP + DRP')
ALONE = {method: f'{unoccluded(method)}, amplitudes of 1' for method in SAMPLING}
UNOCCLUDED = {method: variant('', method, robust=True, occlusion=False) for method in SAMPLING}
KEYS = ('mIoU/box', 'mIoU/box noise 0.4', 'ST/box noise 0.4', 'mIoU/1 point', 'ST/1 point')

STABLE_SAM_MORE = Study(
    name='stable_sam_more',
    config=STABLE_SAM.config,
    data=('mtd',),
    iterations=STABLE_SAM.iterations,
    options=STABLE_SAM.options,
    variants=(
        Variant('zero-shot', {**NO_PLUGINS, 'model.trainable': ()}, trained=False),
        *(changed(unoccluded(method), UNOCCLUDED[method], CACHE) for method in SAMPLING),
        *(changed(ALONE[method], UNOCCLUDED[method], {**CACHE, **OFFSETS_ALONE}) for method in SAMPLING),
        changed('PT-SAM with MLP + RTS', variant('', 'PT-SAM', robust=True), WITH_MLP),
    ),
    columns=STABLE_SAM.columns,
    claims=(
        *(Claim(unoccluded(method), 'zero-shot', key) for key in KEYS for method in SAMPLING),
        *(Claim(unoccluded('DSP + DRP'), unoccluded('DSP'), key) for key in KEYS),
        *(Claim(ALONE[method], unoccluded(method), key) for key in KEYS for method in SAMPLING),
        *(Claim('PT-SAM with MLP + RTS', 'zero-shot', key) for key in KEYS),
    ),
)
