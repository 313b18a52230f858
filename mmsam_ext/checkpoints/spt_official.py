"""Conversion of the checkpoints that SPT's authors published to the key names of this project.

SAM's own weights come from Meta's file. The authors' ``mask_decoder`` makes the draft and their ``draft_decoder`` the
refined mask; beta of the VRA-Adapter is ``lora_sim_scale``.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from .formats import PLAIN_SAM, describe, strip_wrapping

#: Their prefix -> ours.
PREFIXES = {
    'image_encoder.': 'backbone.',
    'prompt_encoder.': 'prompt_encoder.',
    'mask_decoder.': 'mask_decoder.drafts.0.',
    'draft_decoder.': 'mask_decoder.refine.',
}
#: Their name of a parameter that SAM does not have -> ours.
ADDED = {
    r'\.lora_A$': '.lora_a',
    r'\.lora_B$': '.lora_b',
    r'\.transformer\.layers\.(\d+)\.lora_sim_scale$': r'.plugins.0.beta.\1',
}
EXPECTED = "expected a checkpoint of SPT's authors, with lora_A, lora_B and lora_sim_scale in both decoders"
#: Keys of SAM whose layers have LoRA in the authors' models: the encoder's qkv, and q and v of a decoder's attentions.
WITH_LORA = re.compile(r'(image_encoder\..*\.qkv|mask_decoder\..*\.[qv]_proj)\.weight$')
LAYER = re.compile(r'mask_decoder\.transformer\.layers\.\d+\.')


def convert(theirs: dict[str, Tensor], sam: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the authors' state dict to ours.

    Args:
        theirs: The trained weights, or all weights. SAM's own weights among them are compared with `sam`, except for
            layers with LoRA: files saved in evaluation mode have it merged into the weight, beside its own parameters.
        sam: State dict of the SAM that it was trained from, with Meta's names.

    Raises:
        ValueError: `theirs` is not such a checkpoint, lacks a part of what was trained, or was not trained from `sam`;
            or `sam` is not a plain SAM.
    """
    theirs, sam = dict(theirs), dict(sam)
    strip_wrapping(theirs)
    strip_wrapping(sam)
    check_plain_sam(sam)
    missing = [key for key in expected_keys(sam) if key not in theirs]
    if missing:
        raise ValueError(f'{", ".join(missing[:3])} is missing, {len(missing)} keys in all; {EXPECTED}')
    plain = {our_name(key): value for key, value in sam.items() if key.startswith(tuple(PREFIXES))}
    plain |= {our_name(f'draft_{key[5:]}'): value for key, value in sam.items() if key.startswith('mask_decoder.')}
    ours = dict(plain)
    for key, value in theirs.items():
        if not key.startswith(tuple(PREFIXES)):
            raise ValueError(f'unknown key {key}; {EXPECTED}')
        name = our_name(key)
        if name in plain:
            if key.replace('.weight', '.lora_A') not in theirs:
                check_plain(key, value, plain[name])
        elif any(re.search(pattern, key) for pattern in ADDED):
            ours[name] = value
        else:
            raise ValueError(f'unknown key {key}; {EXPECTED}')
    for name in [name for name in ours if name.endswith('.lora_a')]:
        weight = plain.get(f'{name.removesuffix("lora_a")}weight')
        if weight is None or weight.shape[1] != ours[name].shape[1]:
            raise ValueError(f'{name} {tuple(ours[name].shape)} does not fit the base; another size of SAM?')
    return ours


def check_plain_sam(sam: dict[str, Tensor]) -> None:
    """Check that a base is a SAM of Meta and nothing else.

    Raises:
        ValueError: it lacks a part, or has keys that plain SAM does not have.
    """
    expected = "expected Meta's file of the same size of SAM, such as sam_vit_b_01ec64.pth"
    for part in ('image_encoder.pos_embed', 'prompt_encoder', 'mask_decoder'):
        if not any(key.startswith(part) for key in sam):
            raise ValueError(f'the base has no {part}; {describe(sam)} {expected}')
    foreign = [key for key in sam if not PLAIN_SAM.fullmatch(key)]
    if foreign:
        raise ValueError(
            f'the base is not a plain SAM: it has {", ".join(foreign[:3])}, {len(foreign)} foreign keys in all; '
            f'{describe(sam)} {expected}'
        )


def expected_keys(sam: dict[str, Tensor]) -> list[str]:
    """Return the keys that the authors train on a `sam` with Meta's names: LoRA, and a scale for each layer."""
    keys = []
    for key in sam:
        if WITH_LORA.match(key):
            keys += [key.removesuffix('weight') + part for part in ('lora_A', 'lora_B')]
        if layer := LAYER.match(key):
            keys.append(f'{layer[0]}lora_sim_scale')
    keys = list(dict.fromkeys(keys))  # a layer has many keys
    return keys + [f'draft_{key[5:]}' for key in keys if key.startswith('mask_decoder.')]


def our_name(key: str) -> str:
    """Return our name of one of their keys."""
    prefix = next(prefix for prefix in PREFIXES if key.startswith(prefix))
    key = PREFIXES[prefix] + key[len(prefix) :]
    for pattern, replacement in ADDED.items():
        key = re.sub(pattern, replacement, key)
    return key


def check_plain(key: str, value: Tensor, base: Tensor) -> None:
    """Reject a weight of SAM that is not the base's."""
    if value.shape != base.shape:
        raise ValueError(f'{key} is {tuple(value.shape)}, the base has {tuple(base.shape)}; another size of SAM?')
    if not torch.allclose(value.float(), base.float(), atol=1e-6):
        raise ValueError(f'{key} is not that of the base; another base?')
