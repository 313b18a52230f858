"""Which SAM it is, and of which size, by the names and shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

#: Width of the image encoder -> size.
VIT = {192: 'tiny', 768: 'ViT-B', 1024: 'ViT-L', 1280: 'ViT-H'}
#: Width and number of blocks of SAM 2's trunk -> size.
HIERA = {(96, 12): 'Hiera-T', (96, 16): 'Hiera-S', (112, 24): 'Hiera-B+', (144, 48): 'Hiera-L'}

#: Between the families of the image encoder and the decoder, where they differ.
MIXED = 'with the mask decoder of'
#: What :func:`family` returns -> the short name of a published model (``--model``).
SHORT_NAMES = {
    'SAM tiny': 'sam_tiny',
    **{f'SAM ViT-{size}': f'sam_vit_{size.lower()}' for size in 'BLH'},
    **{f'HQ-SAM ViT-{size}': f'sam_hq_vit_{size.lower()}' for size in 'BLH'},
    **{f'SAM 2 {size}': f'sam2.1_{size.lower().replace("-", "_")}' for size in HIERA.values()},
    'MobileSAM': 'mobile_sam',
    'HQ-MobileSAM': 'sam_hq_vit_tiny',
}


def family(state_dict: Mapping[str, Tensor], prefix: str = '') -> str:
    """Return the family and the size of a SAM with our key names, such as 'HQ-SAM ViT-L'; '' for another model."""
    shapes = {key.removeprefix(prefix): tuple(value.shape) for key, value in state_dict.items()}
    encoder, decoder = _encoder(shapes), _decoder(shapes)
    if not encoder:
        return f'{decoder} without an image encoder' if decoder else ''
    name, size = encoder
    if decoder in ('', name):
        return f'{name} {size}'.strip()
    if decoder == ('HQ-SAM 2' if name == 'SAM 2' else 'HQ-SAM'):
        return f'HQ-{name} {size}'.strip()
    if (name, decoder) == ('MobileSAM', 'SAM'):
        return name
    return f'{name} {size}'.strip() + f' {MIXED} {decoder}'


def _encoder(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str] | None:
    """Return family and size of the image encoder, None where there is none that is known."""
    if window := shapes.get('backbone.trunk.pos_embed_window'):
        blocks = {key.split('.')[3] for key in shapes if key.startswith('backbone.trunk.blocks.')}
        return 'SAM 2', HIERA.get((window[1], len(blocks)), f'({window[1]} channels, {len(blocks)} blocks)')
    if any(key.startswith('backbone.trunk.stages.') for key in shapes):
        return 'MobileSAM', ''
    if position := shapes.get('backbone.pos_embed'):
        return 'SAM', VIT.get(position[-1], f'({position[-1]} channels)')
    return None


def _decoder(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the family of the mask decoder, '' where there is none."""
    parts = {match[1] for key in shapes if (match := re.match(r'mask_decoder\.(?:refine\.)?(\w+)\.', key))}
    if 'obj_score_token' in parts:
        return 'HQ-SAM 2' if 'hf_token' in parts else 'SAM 2'
    if 'hf_token' in parts:
        return 'HQ-SAM'
    return 'SAM' if 'mask_tokens' in parts else ''
