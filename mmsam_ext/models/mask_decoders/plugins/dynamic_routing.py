"""Dynamic routing: how much of the deformable features a prompt gets (Stable-SAM, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder


@MODELS.register_module()
class DynamicRoutingPlugin(BaseModule):
    """alpha = s * softmax(MLP(t_o)), the weights of the deformable and of the regular image features (equation 5).

    The `router` of :class:`DeformableSamplingPlugin`. The last layer is zero and s one at the start: both weights are
    1/2, and a mixture of two equal features is the feature itself.

    Args:
        dim: C, channels of the tokens.
        hidden_dim: Width of the MLP.
        mask_token: t_o is the query of this one of the mask tokens; 0 is that of the single-mask output.

    Raises:
        ValueError: a negative `mask_token`; when installed, one that the decoder does not have, or another `dim`.
    """

    #: Missing from a checkpoint of plain SAM without an error.
    added_to_sam = True

    def __init__(self, dim: int = 256, hidden_dim: int = 32, mask_token: int = 0) -> None:
        super().__init__()
        if mask_token < 0:
            raise ValueError(f'DynamicRoutingPlugin: mask_token={mask_token}, expected 0 or more')
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.LayerNorm(hidden_dim), nn.GELU(), nn.Linear(hidden_dim, 2)
        )
        nn.init.zeros_(self.mlp[-1].weight)
        nn.init.zeros_(self.mlp[-1].bias)
        self.scale = nn.Parameter(torch.ones(()))  # s
        self.dim, self.mask_token = dim, mask_token

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Refuse a decoder of other channels, or without that mask token."""
        if self.dim != decoder.transformer_dim:
            raise ValueError(
                f'DynamicRoutingPlugin: dim={self.dim}, expected {decoder.transformer_dim}, the transformer_dim of the '
                'decoder'
            )
        if self.mask_token >= decoder.num_mask_tokens:
            raise ValueError(
                f'DynamicRoutingPlugin: mask_token={self.mask_token}, expected 0 to {decoder.num_mask_tokens - 1}, the '
                "decoder's mask tokens"
            )

    def forward(self, queries: Tensor) -> Tensor:
        """Route each prompt.

        Args:
            queries: (P, K, C) as they enter a token-to-image attention: IoU token, mask tokens, prompt tokens.

        Returns:
            (P, 2), alpha_1 of the deformable features and alpha_2 of the regular ones; each from 0 to s.
        """
        token = queries[:, 1 + self.mask_token]  # t_o; token 0 is that of the IoU head
        return self.scale * self.mlp(token).softmax(-1)
