"""The mask token of PT-SAM: one learned token, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .base import DecoderPlugin

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder


@MODELS.register_module()
class MaskTokenPlugin(DecoderPlugin):
    """Tune one of SAM's mask tokens and leave the others as they are.

    SAM keeps its mask tokens in one parameter, of which `trainable` can select all or none. This adds an offset to one
    of them, zero at the start: an exact identity. With the token's hypernetwork MLP these are the 140,064 parameters
    (0.13 x 2^20) of PT-SAM: see ``configs/pt-mlp_sam_vitl_hqseg44k.py``.

    Paper: PT-SAM in Stable-SAM (arXiv:2311.15776), Table 2.

    Args:
        dim: C, channels of the tokens.
        mask_token: Which of the mask tokens; 0 is that of the single-mask output.

    Raises:
        ValueError: A negative `mask_token`; on installation, one that the decoder does not have, or another `dim`.
    """

    def __init__(self, dim: int = 256, mask_token: int = 0) -> None:
        super().__init__()
        if mask_token < 0:
            raise ValueError(f'MaskTokenPlugin: mask_token={mask_token}, expected 0 or more')
        self.dim, self.mask_token = dim, mask_token
        self.offset = nn.Parameter(torch.zeros(dim))

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """See :class:`DecoderPlugin`."""
        super().check_decoder(decoder)
        if self.mask_token >= decoder.num_mask_tokens:
            raise ValueError(
                f'MaskTokenPlugin: mask_token={self.mask_token}, expected 0 to {decoder.num_mask_tokens - 1}, the '
                "decoder's mask tokens"
            )

    def edit_tokens(self, tokens: Tensor) -> Tensor:
        """Add the offset to the mask token; tokens (P, K, C), of which the first is the IoU token."""
        place = 1 + self.mask_token
        rows = F.pad(self.offset[None], (0, 0, place, tokens.shape[1] - place - 1))  # (K, C)
        return tokens + rows.to(tokens.dtype)
