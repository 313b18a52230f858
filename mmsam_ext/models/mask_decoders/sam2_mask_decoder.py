"""SAM 2's mask decoder: features of high resolution, an object score, and a choice by stability."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from .plugins import DecoderContext
from .sam_mask_decoder import SAMMaskDecoder
from .stable_choice import stable_choice


@MODELS.register_module()
class SAM2MaskDecoder(SAMMaskDecoder):
    """Decode masks as SAM 2 does for images, with the parameter names of SAM 2.1 (4,215,109 parameters).

    Differences to :class:`SAMMaskDecoder`:

    - A token of its own gives the logits of the score that there is an object at all.
    - Features of strides 4 and 8 of the image encoder are added while the image features are upscaled. They are
      projected once for all prompts of an image.
    - The estimates of the IoU head pass a sigmoid.
    - In evaluation, where the single mask is unstable, the best of the three masks for ambiguous prompts takes its
      place: `logits[:, 0]` and `iou[:, 0]` are the ones chosen.

    The object token stands behind the mask tokens, so that plugins find SAM's tokens where they always are; attention
    does not depend on the order.

    Paper: SAM 2: Segment Anything in Images and Videos (arXiv:2408.00714), appendix D.1.

    Args:
        choose_stable: Whether to choose by stability in evaluation.
        kwargs: As for :class:`SAMMaskDecoder`.

    Raises:
        ValueError: In the forward pass, the backbone does not return the features of strides 4 and 8.
    """

    PREFIXES = ('mask_decoder.', 'sam_mask_decoder.')

    def __init__(self, *, choose_stable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dim = self.transformer_dim
        self.choose_stable = choose_stable
        self.obj_score_token = nn.Embedding(1, dim)
        self.pred_obj_score_head = MLP(dim, dim, 1, 3)
        self.add_stages((dim, dim))

    def own_tokens(self) -> Tensor:
        """Return the token of the object score (1, C)."""
        return self.obj_score_token.weight

    def complete(self, logits: Tensor, iou: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor, Tensor]:
        """Score objects, and choose the single mask by its stability; see :class:`SAMMaskDecoder`."""
        assert context.tokens_out is not None, 'set when the transformer ends, as the decoder has tokens of its own'
        token = context.tokens_out[:, 1 + self.num_mask_tokens]  # (P, C), behind those of IoU and masks
        objects = self.pred_obj_score_head(token)[:, 0]  # (P,)
        iou = iou.sigmoid()
        if self.choose_stable and not self.training:
            chosen = stable_choice(logits, iou)  # (P,)
            logits, iou = _with_first(logits, chosen), _with_first(iou, chosen)
        return logits, iou, objects


def _with_first(values: Tensor, chosen: Tensor) -> Tensor:
    """Put number `chosen` (P,) of each row of (P, M, ...) first; in place where there are no gradients."""
    first = values[torch.arange(len(chosen), device=chosen.device), chosen]
    if torch.is_grad_enabled():
        return torch.cat([first[:, None], values[:, 1:]], 1)
    values[:, 0] = first
    return values
