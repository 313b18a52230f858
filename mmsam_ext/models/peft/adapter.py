"""Adapter: a bottleneck behind a layer."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .lora import PEFTLinear


@MODELS.register_module()
class Adapter(PEFTLinear):
    """Add a bottleneck behind a linear layer: y + Up(GELU(Down(y))) with y = W x + b.

    Up starts at zero, so the layer starts as the plain one. The paper puts it on the last linear layer of the attention
    and of the MLP.

    Paper: Houlsby et al. 2019 (arXiv:1902.00751), figure 2.

    Args:
        linear: The layer to adapt.
        width: Channels of the bottleneck, 1 or more.
        dropout: Dropout probability behind the activation, in training.

    Raises:
        ValueError: The width is below 1.
    """

    added_to_sam = ('down.weight', 'down.bias', 'up.weight', 'up.bias')

    def __init__(self, linear: nn.Linear, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__(linear)
        if width < 1:
            raise ValueError(f'Adapter: width={width}, expected 1 or more')
        kind: Any = dict(device=self.weight.device, dtype=self.weight.dtype)
        self.down = nn.Linear(self.out_features, width, **kind)
        self.up = nn.Linear(width, self.out_features, **kind)
        self.dropout = nn.Dropout(dropout)
        if self.weight.device.type != 'meta':
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (..., in_features); returns (..., out_features)."""
        out = F.linear(x, self.weight, self.bias)
        return out + self.up(self.dropout(F.gelu(self.down(out))))
