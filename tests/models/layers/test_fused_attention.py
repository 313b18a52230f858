"""The formulations of SAM's image attention compute the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmsam_ext.models.layers import FusedAttention, fused_attention
from tests.models.small import randomise
from tests.numeric import LAYER, assert_close


def attention(size: tuple[int, int]) -> FusedAttention:
    layer = FusedAttention(24, 3, use_rel_pos=True, input_size=size)
    randomise(layer)
    return layer


def parts(batch: int, height: int, width: int) -> list[Tensor]:
    """Queries, keys and values (B, 2, N, 8), and the relative positions' part of the scores."""
    generator = torch.Generator().manual_seed(0)
    tokens = height * width
    shapes = [(batch, 2, tokens, 8)] * 3 + [(batch, 2, height, width, side) for side in (height, width)]
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize('size', [(3, 5), (7, 4)])
@pytest.mark.parametrize('name', ['_rows', '_windows', '_folded'])
def test_formulations_agree_in_fp32(name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last block of rows and the last group of windows are smaller."""
    monkeypatch.setattr(fused_attention, 'ROWS', 8)
    monkeypatch.setattr(fused_attention, 'WINDOWS', 4)
    layer, inputs = attention(size), parts(3, *size)
    layer.scale = 8**-0.5
    q, k, v, rel_h, rel_w = inputs
    bias = (rel_h[..., :, None] + rel_w[..., None, :]).flatten(4).flatten(2, 3)  # (B, heads, N, N)
    expected = torch.softmax(layer.scale * q @ k.transpose(-2, -1) + bias, -1) @ v
    assert_close(layer._masked(*inputs), expected, LAYER)
    assert_close(getattr(layer, name)(*inputs), expected, LAYER)


@pytest.mark.parametrize(('size', 'name'), [((40, 30), '_rows'), ((8, 8), '_windows')])
def test_bf16_on_a_cpu_with_units(size: tuple[int, int], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own formulation for images and for windows, close to fp32; elsewhere, and in training, as before."""
    layer = attention(size)
    x = torch.randn(2, *size, 24, generator=torch.Generator().manual_seed(0))
    called = []
    for method in ('_rows', '_windows', '_masked', '_folded'):
        stock = getattr(layer, method)
        monkeypatch.setattr(layer, method, lambda *a, m=method, s=stock: called.append(m) or s(*a))
    with torch.no_grad():
        expected = layer(x)
        monkeypatch.setattr(fused_attention, 'cpu_has_bf16_units', lambda: True)
        layer(x)
        layer.bfloat16()
        ours = layer(x.bfloat16())
        monkeypatch.setattr(fused_attention, 'cpu_has_bf16_units', lambda: False)
        before = layer(x.bfloat16())
    assert called == ['_masked', '_masked', name, '_masked']
    errors = [float((one.float() - expected).norm() / expected.norm()) for one in (ours, before)]
    assert errors[0] < 2 * errors[1] + 0.02 and errors[0] < 0.05
