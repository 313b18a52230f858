"""Plain SAM, with Meta's key names, out of a state dict of this project."""

from __future__ import annotations

from collections import Counter

import torch

#: Our name of a module -> Meta's; of self-draft decoders the refining one is SAM's.
PREFIXES = {
    'backbone.': 'image_encoder.',
    'image_encoder.': 'image_encoder.',
    'prompt_encoder.': 'prompt_encoder.',
    'mask_decoder.refine.': 'mask_decoder.',
    'mask_decoder.': 'mask_decoder.',
}
ADDITIONS = ('mask_decoder.plugins.', 'mask_decoder.refine.plugins.', 'mask_decoder.drafts.')
#: Parameters of PEFT layers, which change what the plain weights beside them compute.
PEFT = ('lora_a', 'lora_b', 'magnitude', 'down.weight', 'up.weight')


def plain_sam(state_dict: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Counter[str]]:
    """State dict with our names -> with Meta's, and how many keys were left out, by their first two names.

    Raises:
        ValueError: no image encoder in it, or PEFT layers that were not merged.
    """
    unmerged = [key for key in state_dict if key.endswith(PEFT)]
    if unmerged:
        raise ValueError(f'PEFT layers are not merged into plain weights (as {unmerged[0]})')
    plain, left_out = {}, Counter()
    for key, value in state_dict.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix is None or key.startswith(ADDITIONS):
            left_out['.'.join(key.split('.')[:2])] += 1
        else:
            plain[PREFIXES[prefix] + key[len(prefix) :]] = value.contiguous()
    if not any(key.startswith('image_encoder.') for key in plain):
        raise ValueError('no image encoder in it; a trainable-only checkpoint?')
    return plain, left_out
