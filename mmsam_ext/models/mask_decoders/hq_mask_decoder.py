"""HQ-SAM's mask decoder: one more token, and features from an early layer of the image encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from mmsam_ext.structures import SAMFeatures

from ..layers import fuse_layer_norms
from .plugins import DecoderContext
from .sam_mask_decoder import SAMMaskDecoder

#: What HQ-SAM adds to SAM's decoder, under the names of its authors.
HQ_PARTS = ('hf_token', 'hf_mlp', 'compress_vit_feat', 'embedding_encoder', 'embedding_maskfeature')


@MODELS.register_module()
class HQMaskDecoder(SAMMaskDecoder):
    """Decode masks as HQ-SAM does: SAM's masks plus one of the high-quality token, with its authors' parameter names.

    mask = mask_SAM + hf_mlp(token) . (embedding_maskfeature(upscaled) + embedding_encoder(embedding)
    + compress_vit_feat(early)), where `early` is the output of the image encoder's first block with global attention.
    The token stands among SAM's tokens, so SAM's own masks move a little. The features of an image are computed once
    for all its prompts.

    The parts that HQ-SAM adds have 1,071,104 parameters on SAM-B, 1,333,248 on SAM-L and 1,595,392 on SAM-H. They start
    at random, as published. Plugins act as they do in :class:`SAMMaskDecoder`.

    Paper: Segment Anything in High Quality (arXiv:2306.01567), section 3.2.

    Args:
        early_dim: Channels of the early feature: the width of the image encoder, 768 for SAM-B.
        hq_only: When the masks are those of the high-quality token alone, without SAM's: True for always, False for
            never, 'training' for in training alone (as published).
        early_stage: Which of the backbone's stages is the early feature. The backbone returns stages where its
            `out_indices` are set: (2,) for SAM-B, (5,) for SAM-L, (7,) for SAM-H.
        kwargs: As for :class:`SAMMaskDecoder`.

    Raises:
        ValueError: `hq_only` has another value; in the forward pass, the backbone returns no such stage or one with
            other channels.

    Example::

        backbone = dict(type='SAMImageEncoder', arch='large', out_indices=(5,))
        mask_decoder = dict(type='HQMaskDecoder', early_dim=1024)
    """

    #: What happens where a checkpoint lacks the parts that are added to SAM; the end of an error message.
    untrained_effect = 'would add masks that were never trained'

    def __init__(
        self, *, early_dim: int, hq_only: bool | str = 'training', early_stage: int = 0, **kwargs: Any
    ) -> None:
        check_hq_only(type(self).__name__, hq_only)
        super().__init__(**kwargs)
        dim = self.transformer_dim
        self.early_dim, self.hq_only, self.early_stage = early_dim, hq_only, early_stage
        self.hf_token = nn.Embedding(1, dim)
        self.hf_mlp = MLP(dim, dim, dim // 8, 3)
        self.compress_vit_feat = _upscaling(early_dim, dim, dim // 8)
        self.embedding_encoder = _upscaling(dim, dim // 4, dim // 8)
        self.embedding_maskfeature = mask_features(dim)
        for name in HQ_PARTS:
            part = getattr(self, name)
            part.added_to_sam = True  # a checkpoint of plain SAM may lack it
            fuse_layer_norms(part)

    def own_tokens(self) -> Tensor:
        """Return the high-quality token (1, C)."""
        return self.hf_token.weight

    def complete(self, logits: Tensor, iou: Tensor, context: DecoderContext) -> tuple[Tensor, Tensor, None]:
        """Add the high-quality mask to each of SAM's, or take it in their place; see :class:`SAMMaskDecoder`."""
        assert context.tokens_out is not None, 'set when the transformer ends, as the decoder has tokens of its own'
        token = context.tokens_out[:, 1 + self.num_mask_tokens]  # (P, C), behind those of IoU and masks
        features = self.embedding_maskfeature(context.upscaled)  # (P, C/8, 4h, 4w)
        features = add(features, self._image_features(context.features)[context.image_index])
        mask = token_mask(self.hf_mlp(token), features)
        if self.hq_only is True or (self.hq_only == 'training' and self.training):
            return mask.expand_as(logits), iou, None
        return add(logits, mask), iou, None

    def adapt_state(self, state_dict: dict[str, Tensor], prefix: str) -> None:
        """Check that a checkpoint has all parts of HQ-SAM, or none (a plain SAM); see :func:`check_parts`."""
        check_parts(state_dict, prefix, HQ_PARTS)

    def _image_features(self, features: SAMFeatures) -> Tensor:
        """Return what the high-quality features take from the images, (B, C/8, 4h, 4w)."""
        stages = features.stages
        if len(stages) <= self.early_stage or stages[self.early_stage].shape[1] != self.early_dim:
            found = [tuple(stage.shape[1:]) for stage in stages]
            raise ValueError(
                f'HQMaskDecoder: stage {self.early_stage} of the backbone should have {self.early_dim} channels '
                f'(early_dim), but the backbone returns stages of the shapes {found} (channels, height, width). Set '
                "the backbone's out_indices to its first block with global attention: (2,) for SAM-B, (5,) for SAM-L, "
                '(7,) for SAM-H'
            )

        def compute() -> Tensor:
            dtype = self.hf_token.weight.dtype
            early = self.compress_vit_feat(stages[self.early_stage].to(dtype))
            return early + self.embedding_encoder(features.embedding.to(dtype))

        if torch.is_grad_enabled():  # stored results would break activation checkpointing, which computes them again
            return compute()
        return features.once('features of HQ-SAM', compute, weights=self)


def _upscaling(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return two transposed convolutions that upscale by 4."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, hidden, 2, stride=2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, outputs, 2, stride=2),
    )


def mask_features(dim: int) -> nn.Sequential:
    """Return the convolutions of the upscaled image features, from and to C/8 channels."""
    return nn.Sequential(
        nn.Conv2d(dim // 8, dim // 4, 3, padding=1),
        LayerNorm2d(dim // 4),
        nn.GELU(),
        nn.Conv2d(dim // 4, dim // 8, 3, padding=1),
    )


def token_mask(token: Tensor, features: Tensor) -> Tensor:
    """Return the mask (P, 1, H, W) of a token (P, C) on features (P, C, H, W)."""
    return torch.einsum('pc,pchw->phw', token, features)[:, None]


def add(values: Tensor, others: Tensor) -> Tensor:
    """Return a sum; without gradients it replaces `values`, to save memory."""
    return values + others if torch.is_grad_enabled() else values.add_(others)


def check_hq_only(name: str, value: bool | str) -> None:
    """Check the argument `hq_only` of the decoder `name`.

    Raises:
        ValueError: It has another value.
    """
    if value not in (True, False, 'training'):
        raise ValueError(f"{name}: hq_only={value!r}, expected True, False or 'training'")


def check_parts(state_dict: Mapping[str, Tensor], prefix: str, parts: Sequence[str]) -> None:
    """Check that a checkpoint has all the parts that a decoder adds to SAM, or none of them.

    Raises:
        ValueError: It has some of them: the file is not complete.
    """
    missing = [part for part in parts if not any(key.startswith(f'{prefix}{part}.') for key in state_dict)]
    if missing and len(missing) < len(parts):
        raise ValueError(
            f'{prefix.removesuffix(".") or "HQ-SAM"}: the checkpoint has some of the parts that HQ-SAM adds to SAM and '
            f'lacks {", ".join(missing)}; expected a complete file such as sam_hq_vit_b.pth'
        )
