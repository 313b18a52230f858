"""timm's TinyViT and formulations of two of its parts, imported where a model has one: timm is slow to import."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.tiny_vit import Attention, ConvNorm, TinyVit
from torch import Tensor, nn


def use_own_parts(trunk: nn.Module) -> None:
    """Give attentions and convolutions of a TinyViT the formulations below.

    Their parameters stay the same, under the same names: only the class differs.
    """
    for module in trunk.modules():
        if isinstance(module, Attention):
            module.__class__ = _CurrentBiasAttention
        elif type(module) is ConvNorm:
            module.__class__ = _FoldedConvNorm


class _FoldedConvNorm(ConvNorm):
    """A convolution and its batch norm in one pass where there are no gradients; equal up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w)."""
        conv, norm = self.conv, cast('Any', self.bn)
        if torch.is_grad_enabled() or norm.training:
            return super().forward(x)
        exact = torch.promote_types(x.dtype, torch.float32)  # bf16 has too few bits for small factors
        scale = norm.weight.to(exact) * (norm.running_var.to(exact) + norm.eps).rsqrt()
        weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        if conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1:  # a product of matrices is faster
            return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class _CurrentBiasAttention(Attention):
    """Gather the attention biases at each call: timm keeps those of the first call, whatever is loaded later."""

    attention_bias_idxs: Tensor

    def get_attention_biases(self, device: object) -> Tensor:
        """Return the bias of each pair of tokens, (1, heads, N, N): of three dimensions, it would not be fused."""
        return self.attention_biases[None, :, self.attention_bias_idxs]


__all__ = ['TinyVit', 'use_own_parts']
