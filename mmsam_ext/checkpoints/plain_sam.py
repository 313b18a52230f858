"""Conversion of a state dict of this project to plain SAM with Meta's key names."""

from __future__ import annotations

import re
from collections import Counter

import torch

from . import key_maps

#: Our name of a module -> Meta's. Of a self-draft decoder, the refining decoder is SAM's.
PREFIXES = {
    'backbone.': 'image_encoder.',
    'image_encoder.': 'image_encoder.',
    'prompt_encoder.': 'prompt_encoder.',
    'mask_decoder.refine.': 'mask_decoder.',
    'mask_decoder.': 'mask_decoder.',
}
#: Beginning of the keys of another image encoder -> its authors' names.
BY_ENCODER = {
    'image_encoder.trunk.blocks.': key_maps.TO_SAM2,
    'image_encoder.trunk.stages.': key_maps.TO_MOBILE_SAM,
}
ADDITIONS = ('mask_decoder.plugins.', 'mask_decoder.refine.plugins.', 'mask_decoder.drafts.')
#: Parameters of PEFT layers, which change what the plain weights beside them compute.
PEFT = ('lora_a', 'lora_b', 'magnitude', 'down.weight', 'up.weight')


def plain_sam(state_dict: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """Rename the keys of SAM to Meta's names, and leave out all other keys.

    Of an HQ-SAM, a SAM 2 and a MobileSAM they are their authors' names.

    Returns:
        The state dict of plain SAM, and the number of keys left out by the first two parts of their names.

    Raises:
        ValueError: `state_dict` has no image encoder, or it has PEFT layers that are not merged.
    """
    unmerged = [key for key in state_dict if key.endswith(PEFT)]
    if unmerged:
        raise ValueError(
            f'PEFT layers are not merged into the plain weights, for example {unmerged[0]}; run merge-peft first'
        )
    plain, left_out = {}, Counter()
    for key, value in state_dict.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is None or key.startswith(ADDITIONS):
            left_out['.'.join(key.split('.')[:2])] += 1
        else:
            plain[PREFIXES[prefix] + key[len(prefix) :]] = value.contiguous()
    if not any(key.startswith('image_encoder.') for key in plain):
        raise ValueError('it has no image encoder; does it hold only the trained part?')
    for mark, names in BY_ENCODER.items():
        if any(key.startswith(mark) for key in plain):
            plain = {_renamed(key, names): value for key, value in plain.items()}
            break
    return plain, left_out


def _renamed(key: str, names: dict[str, str]) -> str:
    for pattern, theirs in names.items():
        key = re.sub(pattern, theirs, key)
    return key
