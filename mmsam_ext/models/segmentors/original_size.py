"""From the decoder's mask logits to masks at the original size of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def to_original(logits: Tensor, input_size: tuple[int, int], meta: Mapping[str, Any]) -> Tensor:
    """Resize the mask logits of one image to its original size, in two steps as SAM does.

    They are resized to the padded network input, the padding is cut off, flips are undone, and the rest is resized to
    the original size.

    Args:
        logits: (P, h, w).
        input_size: (H, W) of the padded network input.
        meta: Metainfo of the sample: `img_shape` and `ori_shape` (height, width), and `flip`, `flip_direction`.

    Returns:
        (P, H0, W0) float32.
    """
    logits = F.interpolate(logits[:, None].float(), tuple(input_size), mode='bilinear', align_corners=False)
    height, width = meta.get('img_shape', input_size)[:2]
    logits = logits[..., :height, :width]
    if meta.get('flip'):
        logits = logits.flip(-1 if meta.get('flip_direction') == 'horizontal' else -2)
    original = tuple(meta.get('ori_shape', (height, width))[:2])
    if logits.shape[-2:] != original:
        logits = F.interpolate(logits, original, mode='bilinear', align_corners=False)
    return logits[:, 0]
