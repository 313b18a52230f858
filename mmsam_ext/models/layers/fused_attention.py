"""SAM's image attention in a fused form: same parameters, same result, no N x N matrix kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor

from .bf16_units import cpu_has_bf16_units
from .blockwise_attention import attend_by_rows, attend_by_windows
from .dot_product_attention import dot_product_attention
from .plain_operations import needs_plain_operations

#: The most tokens that attend a few windows at a time; more do in blocks of rows.
WINDOW_TOKENS = 1024
#: Number of attention scores whose bias is held at a time (64 MB in fp32): one head of a 1024 x 1024 image.
BIAS_ELEMENTS = 2**24


class FusedAttention(Attention):
    """Compute ``segment_anything``'s attention with decomposed relative positions by PyTorch's fused attention.

    score(i, j) = q_i k_j / sqrt(d) + q_i R_h(y_i - y_j) + q_i R_w(x_i - x_j)   (ViTDet; SAM, appendix A)

    There are four formulations, equal up to rounding:

    - Without gradients on a CPU (and on the meta device, where costs are counted) the bias is the mask of the fused
      kernel, a few heads at a time in one reused buffer.
    - On a GPU, and in training, the bias is folded into queries and keys, so that it needs neither memory nor a
      gradient of its own: q' = [q / sqrt(d), q R_h, q R_w], k' = [k, one-hot row, one-hot column].
    - In bf16 on a CPU with units for it, where PyTorch's kernel takes as long as in fp32, both products are made
      apart (:mod:`~mmsam_ext.models.layers.blockwise_attention`): in blocks of rows for a whole image, and from folded
      queries and keys, a few windows at a time, for windows.
    - In training on a CPU, in fp32 as well, more than :data:`WINDOW_TOKENS` tokens attend in blocks of rows.

    Milliseconds on 2 cores of an EPYC with AVX-512 BF16, folded -> in blocks; forward pass, and backward pass:

    | | bf16 | fp32 |
    | --- | --- | --- |
    | one head of 4096 tokens | 85 -> 29, 167 -> 82 | 107 -> 60, 312 -> 149 |
    | 300 windows of 14 x 14 | 48 -> 24, 157 -> 58 | 70 -> 48, 187 -> 132 |
    | 24 heads of 256 tokens | | 11 -> 9, 21 -> 26 |
    """

    def forward(self, x: Tensor) -> Tensor:
        """Attend: (B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, _ = x.shape
        tokens = height * width
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)  # each (B, heads, N, d)
        if not self.use_rel_pos:
            out = dot_product_attention(q, k, v)
        else:
            grid = q.reshape(batch, self.num_heads, height, width, -1)
            rel_h = torch.einsum('bnhwc,hkc->bnhwk', grid, get_rel_pos(height, height, self.rel_pos_h).to(q.dtype))
            rel_w = torch.einsum('bnhwc,wkc->bnhwk', grid, get_rel_pos(width, width, self.rel_pos_w).to(q.dtype))
            # The positions may be trained where nothing before them is, so that q itself needs no gradient.
            trained = torch.is_grad_enabled() and (rel_h.requires_grad or rel_w.requires_grad)
            out = self._formulation(q, tokens, trained)(q, k, v, rel_h, rel_w)
        out = out.transpose(1, 2).reshape(batch, height, width, -1)  # (B, heads, N, d) -> (B, H, W, C)
        return self.proj(out)

    def _formulation(self, q: Tensor, tokens: int, trained: bool) -> Callable[..., Tensor]:
        """Return the fastest of the methods that follow."""
        if q.device.type not in ('cpu', 'meta'):
            return self._folded
        if q.device.type == 'cpu' and not needs_plain_operations():
            if q.dtype == torch.bfloat16 and cpu_has_bf16_units():
                return self._windows if tokens <= WINDOW_TOKENS else self._rows
            if trained and q.dtype in (torch.float32, torch.float64) and tokens > WINDOW_TOKENS:
                return self._rows
        return self._folded if trained else self._masked

    def _masked(self, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        """Attend with the bias as the mask.

        q, k, v (B, heads, N, d); rel_h (B, heads, H, W, H); rel_w (B, heads, H, W, W) -> (B, heads, N, d).
        """
        batch, heads, tokens, _ = q.shape
        height, width = rel_h.shape[-1], rel_w.shape[-1]
        q, k, v, rel_h, rel_w = (t.reshape(batch * heads, 1, *t.shape[2:]) for t in (q, k, v, rel_h, rel_w))
        size = min(batch * heads, max(1, BIAS_ELEMENTS // tokens**2))
        buffer = q.new_empty(size, 1, height, width, height, width)
        out = torch.empty_like(q)
        for start in range(0, batch * heads, size):
            part = slice(start, start + size)
            bias = buffer[: len(q[part])]
            torch.add(rel_h[part, ..., :, None], rel_w[part, ..., None, :], out=bias)
            bias = bias.view(-1, 1, tokens, tokens)
            out[part] = dot_product_attention(q[part], k[part], v[part], attn_mask=bias)
        return out.view(batch, heads, tokens, -1)

    def _folded(self, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        """Do what :meth:`_masked` does, differentiable in q, k, v and the relative positions."""
        dim = q.shape[-1]
        q, k = self._fold(q, k, rel_h, rel_w)
        v = F.pad(v, (0, q.shape[-1] - dim))
        return dot_product_attention(q, k, v, scale=1.0)[..., :dim]

    def _rows(self, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        """Do what :meth:`_masked` does, differentiable, a head and a few rows of scores at a time."""
        flat_h, flat_w = rel_h.flatten(2, 3).flatten(0, 1), rel_w.flatten(2, 3).flatten(0, 1)  # (B * heads, N, .)
        out = attend_by_rows(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), flat_h, flat_w, self.scale)
        return out.view(q.shape)

    def _windows(self, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
        """Do what :meth:`_masked` does, differentiable, a few windows at a time."""
        q, k = self._fold(q, k, rel_h, rel_w)
        return attend_by_windows(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)).view(v.shape)

    def _fold(self, q: Tensor, k: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
        """Return q' and k', (B, heads, N, d + H + W), whose products are the scores."""
        batch, heads = q.shape[:2]
        height, width = rel_h.shape[-1], rel_w.shape[-1]
        rows = torch.eye(height, device=q.device, dtype=q.dtype).repeat_interleave(width, 0)  # (N, H)
        columns = torch.eye(width, device=q.device, dtype=q.dtype).repeat(height, 1)  # (N, W)
        one_hot = torch.cat([rows, columns], -1).expand(batch, heads, -1, -1)
        q = torch.cat([q * self.scale, rel_h.flatten(2, 3), rel_w.flatten(2, 3)], -1)
        return q, torch.cat([k, one_hot], -1)
