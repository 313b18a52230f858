"""From the decoder's mask logits to masks at the original size of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsam_ext.structures.samples import sample_name

#: Pixels of the network input that are resized at a time (32 MB in fp32).
CHUNK_PIXELS = 8 * 1024 * 1024


def to_original(logits: Tensor, input_size: tuple[int, int], meta: Mapping[str, Any], one_step: bool = False) -> Tensor:
    """Resize the mask logits of one image to its original size, in two steps as SAM does.

    They are resized to the padded network input, the padding is cut off, flips are undone, and the rest is resized to
    the original size. A few masks are resized at a time, so that memory on the way does not grow with P.

    Args:
        logits: (P, h, w).
        input_size: (H, W) of the padded network input.
        meta: Metainfo of the sample: `img_shape` and `ori_shape` (height, width), and `flip`, `flip_direction`.
        one_step: Resize to the original size at once, as the code of SPT's authors does, for inputs without padding.

    Returns:
        (P, H0, W0) float32.

    Raises:
        ValueError: `one_step` with an input that was padded; names the sample and both sizes.
    """
    height, width = meta.get('img_shape', input_size)[:2]
    original = tuple(meta.get('ori_shape', (height, width))[:2])
    if one_step and (height, width) != tuple(input_size):
        raise ValueError(
            f'{sample_name(meta)}: test_cfg.one_step_resize with an image of {(height, width)} padded to '
            f'{tuple(input_size)}, expected no padding; use Resize with keep_ratio=False'
        )
    between, inner = (original, original) if one_step else (input_size, (height, width))
    chunk = max(1, CHUNK_PIXELS // (input_size[0] * input_size[1]))
    if len(logits) <= chunk:
        return _resized(logits, between, inner, original, meta)
    full = logits.new_empty(len(logits), *original, dtype=torch.float32)
    for start in range(0, len(logits), chunk):
        part = slice(start, start + chunk)
        full[part] = _resized(logits[part], between, inner, original, meta)
    return full


def _resized(
    logits: Tensor,
    between: tuple[int, ...],
    inner: tuple[int, ...],
    original: tuple[int, ...],
    meta: Mapping[str, Any],
) -> Tensor:
    """Resize to the size `between`, keep what is `inner` of it, and resize that to the original size."""
    logits = logits[:, None].float()
    if logits.shape[-2:] != tuple(between):
        logits = F.interpolate(logits, tuple(between), mode='bilinear', align_corners=False)
    logits = logits[..., : inner[0], : inner[1]]
    if meta.get('flip'):
        logits = logits.flip(-1 if meta.get('flip_direction') == 'horizontal' else -2)
    if logits.shape[-2:] != original:
        logits = F.interpolate(logits, original, mode='bilinear', align_corners=False)
    return logits[:, 0]
