"""HQ-SAM 2's mask decoder: SAM 2's with the token of HQ-SAM."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from ..layers import fuse_layer_norms
from .hq_mask_decoder import add, check_hq_only, check_parts, mask_features, token_mask
from .plugins import DecoderContext
from .sam2_mask_decoder import SAM2MaskDecoder

#: What HQ-SAM 2 adds to SAM 2's decoder, under the names of its authors.
HQ2_PARTS = ('hf_token', 'hf_mlp', 'embedding_maskfeature')


@MODELS.register_module()
class HQSAM2MaskDecoder(SAM2MaskDecoder):
    """Decode masks as HQ-SAM 2 does: SAM 2's masks plus one of the high-quality token.

    mask = mask_SAM2 + hf_mlp(token) . embedding_maskfeature(upscaled). Unlike HQ-SAM it takes no early features: SAM 2
    adds features of high resolution already. The added parts have 177,152 parameters and start at random, as published.

    Paper: no paper; the code of Segment Anything in High Quality (arXiv:2306.01567), folder sam-hq2.

    Args:
        hq_only: As for :class:`HQMaskDecoder`.
        kwargs: As for :class:`SAM2MaskDecoder`.
    """

    #: See :class:`HQMaskDecoder`.
    untrained_effect = 'would add masks that were never trained'

    def __init__(self, *, hq_only: bool | str = 'training', **kwargs: Any) -> None:
        check_hq_only(type(self).__name__, hq_only)
        super().__init__(**kwargs)
        dim = self.transformer_dim
        self.hq_only = hq_only
        self.hf_token = nn.Embedding(1, dim)
        self.hf_mlp = MLP(dim, dim, dim // 8, 3)
        self.embedding_maskfeature = mask_features(dim)
        for name in HQ2_PARTS:
            getattr(self, name).added_to_sam = True  # a checkpoint of plain SAM 2 may lack it
        fuse_layer_norms(self.embedding_maskfeature)

    def own_tokens(self) -> Tensor:
        """Return the tokens of the object score and of the high-quality mask (2, C)."""
        return torch.cat([self.obj_score_token.weight, self.hf_token.weight])

    def complete(self, logits: Tensor, iou: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor, Tensor]:
        """Add the high-quality mask to each of SAM 2's, or take it in their place; see :class:`SAMMaskDecoder`."""
        logits, iou, objects = super().complete(logits, iou, context)
        assert context.tokens_out is not None, 'set when the transformer ends, as the decoder has tokens of its own'
        token = context.tokens_out[:, 2 + self.num_mask_tokens]  # (P, C), behind IoU, masks and object score
        mask = token_mask(self.hf_mlp(token), self.embedding_maskfeature(context.upscaled))
        if self.hq_only is True or (self.hq_only == 'training' and self.training):
            return mask.expand_as(logits), iou, objects
        return add(logits, mask), iou, objects

    def adapt_state(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Check that a checkpoint has all parts of HQ-SAM 2, or none; see :func:`check_parts`."""
        check_parts(state_dict, prefix, HQ2_PARTS)
