"""Dynamic routing: how much of the deformable features each prompt gets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

if TYPE_CHECKING:
    from ..sam_mask_decoder import SAMMaskDecoder


@MODELS.register_module()
class DynamicRouter(BaseModule):
    """Compute alpha = s * softmax(MLP(t_o)), the weights of deformable and regular image features (equation 5).

    It is the `router` of :class:`DeformableSamplingPlugin`. At the start the last layer is zero and s is one, so both
    weights are 1/2, and a mixture of two equal features is the feature itself.

    Paper: Stable-SAM, section 4.2.

    Args:
        dim: C, channels of the tokens.
        hidden_dim: Hidden width of the MLP.
        mask_token: Which mask token's query is t_o; 0 is the one of the single-mask output.

    Raises:
        ValueError: `mask_token` is negative. When installed: the decoder does not have this mask token, or `dim` is not
            its `transformer_dim`.
    """

    #: Whether a checkpoint of plain SAM may lack its parameters.
    added_to_sam = True
    #: The end of the error for a router in the decoder's list of plugins.
    not_a_plugin = "Put it into a plugin: dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter'))"

    def __init__(self, dim: int = 256, hidden_dim: int = 32, mask_token: int = 0) -> None:
        super().__init__()
        if mask_token < 0:
            raise ValueError(f'{type(self).__name__}: mask_token={mask_token}, expected 0 or more')
        first, last = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, 2)  # drawn in this order from a seed
        self.mlp = nn.Sequential(first, nn.LayerNorm(hidden_dim), nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.scale = nn.Parameter(torch.ones(()))  # s
        self.dim, self.mask_token = dim, mask_token

    def check_decoder(self, decoder: SAMMaskDecoder) -> None:
        """Check that this router fits a decoder.

        Raises:
            ValueError: The decoder has other channels, or does not have this mask token.
        """
        if self.dim != decoder.transformer_dim:
            raise ValueError(
                f'{type(self).__name__}: dim={self.dim}, expected {decoder.transformer_dim}, the transformer_dim of '
                'the decoder'
            )
        if self.mask_token >= decoder.num_mask_tokens:
            raise ValueError(
                f'{type(self).__name__}: mask_token={self.mask_token}, expected 0 to {decoder.num_mask_tokens - 1}, '
                "the decoder's mask tokens"
            )

    def forward(self, queries: Tensor) -> Tensor:
        """Route each prompt.

        Args:
            queries: (P, K, C) as they enter a token-to-image attention: IoU token, mask tokens, prompt tokens.

        Returns:
            (P, 2), alpha_1 of the deformable features and alpha_2 of the regular ones; each from 0 to s.
        """
        token = queries[:, 1 + self.mask_token]  # t_o; token 0 is the one of the IoU head
        return self.scale * self.mlp(token).softmax(-1)


@MODELS.register_module()
class DynamicRoutingPlugin(DynamicRouter):
    """The old name of :class:`DynamicRouter`, with the same arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn('DynamicRoutingPlugin is now called DynamicRouter', DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)
