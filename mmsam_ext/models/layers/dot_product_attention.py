"""PyTorch's attention, also where its kernel for 16 bits cannot run."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .bf16_units import avx512_is_hidden


def dot_product_attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Compute ``scaled_dot_product_attention``.

    With ``ATEN_CPU_CAPABILITY=avx2`` (or ``default``) on a processor that has AVX-512, PyTorch's kernel for 16 bits
    needs the AVX-512 that it may not use, and raises; the products are then made one after the other.

    Args:
        q: (..., L, d).
        k: (..., N, d).
        v: (..., N, e).
        options: ``attn_mask`` and ``scale`` of ``scaled_dot_product_attention``.

    Returns:
        (..., L, e).
    """
    if q.dtype in (torch.bfloat16, torch.float16) and q.device.type == 'cpu' and avx512_is_hidden():
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, **options)
    return F.scaled_dot_product_attention(q, k, v, **options)
