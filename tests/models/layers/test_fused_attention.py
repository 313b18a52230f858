"""The formulations of SAM's image attention compute the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmsam_ext.models.layers import FusedAttention, bf16_units, blockwise_attention, fused_attention
from mmsam_ext.models.layers import dot_product_attention as module
from mmsam_ext.models.layers.dot_product_attention import dot_product_attention
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
    monkeypatch.setattr(blockwise_attention, 'ROWS', 8)
    monkeypatch.setattr(blockwise_attention, 'WINDOWS', 4)
    layer, inputs = attention(size), parts(3, *size)
    layer.scale = 8**-0.5
    expected = stock(layer, inputs)
    assert_close(layer._masked(*inputs), expected, LAYER)
    assert_close(getattr(layer, name)(*inputs), expected, LAYER)


def stock(layer: FusedAttention, inputs: list[Tensor]) -> Tensor:
    """The attention written out, with all scores at once."""
    q, k, v, rel_h, rel_w = inputs
    bias = (rel_h[..., :, None] + rel_w[..., None, :]).flatten(4).flatten(2, 3)  # (B, heads, N, N)
    return torch.softmax(layer.scale * q @ k.transpose(-2, -1) + bias, -1) @ v


@pytest.mark.parametrize('size', [(3, 5), (7, 4)])
@pytest.mark.parametrize('name', ['_rows', '_windows', '_folded'])
def test_gradients_agree(name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of queries, keys, values and positions, of two images, in fp64."""
    monkeypatch.setattr(blockwise_attention, 'ROWS', 8)
    monkeypatch.setattr(blockwise_attention, 'WINDOWS', 3)
    layer = attention(size)
    layer.scale = 8**-0.5
    ours = [part.double().requires_grad_() for part in parts(2, *size)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    out, expected = getattr(layer, name)(*ours), stock(layer, theirs)
    weights = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name', ['_rows', '_windows'])
def test_a_second_derivative_is_an_error(name: str) -> None:
    """It would be wrong without one."""
    layer, inputs = attention((3, 5)), [part.requires_grad_() for part in parts(1, 3, 5)]
    (gradient,) = torch.autograd.grad(getattr(layer, name)(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


@pytest.mark.parametrize(('size', 'name'), [((40, 30), '_rows'), ((8, 8), '_windows')])
def test_bf16_on_a_cpu_with_units(size: tuple[int, int], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own formulation for images and for windows, as close to fp32 as PyTorch's kernel; elsewhere as before."""
    layer = attention(size)
    x = torch.randn(2, *size, 24, generator=torch.Generator().manual_seed(0))
    called = record(layer, monkeypatch)
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


@pytest.mark.parametrize(
    ('size', 'names'),
    [((40, 30), ['_rows', '_rows', '_folded']), ((8, 8), ['_folded', '_windows', '_folded'])],
)
def test_training_on_a_cpu(size: tuple[int, int], names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32, in bf16 with units and without: the formulation, and gradients close to those of plain products."""
    layer = attention(size)
    called = record(layer, monkeypatch)
    x = torch.randn(2, *size, 24, generator=torch.Generator().manual_seed(0))
    with monkeypatch.context() as patch:
        patch.setattr(layer, '_formulation', lambda *_: lambda *inputs: stock(layer, list(inputs)))
        expected = gradients(layer, x)
    errors = []
    for units, dtype in ((False, torch.float32), (True, torch.bfloat16), (False, torch.bfloat16)):
        monkeypatch.setattr(fused_attention, 'cpu_has_bf16_units', lambda units=units: units)
        found = gradients(layer.to(dtype), x.to(dtype))
        errors.append(
            max(float((one - other).norm() / other.norm()) for one, other in zip(found, expected, strict=True))
        )
    assert called == names
    assert errors[0] < 1e-4 and errors[1] < 2 * errors[2] + 0.02 and errors[1] < 0.08


def record(layer: FusedAttention, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each formulation that is used."""
    called = []
    for method in ('_rows', '_windows', '_masked', '_folded'):
        plain = getattr(layer, method)
        monkeypatch.setattr(layer, method, lambda *a, m=method, s=plain: called.append(m) or s(*a))
    return called


def gradients(layer: FusedAttention, x: Tensor) -> list[Tensor]:
    """Return the gradients of the input and of all parameters, in fp32."""
    layer.zero_grad()
    x = x.detach().clone().requires_grad_()
    out = layer(x)
    out.backward(torch.ones_like(out) * torch.linspace(-1, 1, out.shape[-1], dtype=out.dtype))
    found = [x.grad, *(parameter.grad for parameter in layer.parameters())]
    return [one.float() for one in found if one is not None]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_16_bits_where_avx512_is_hidden(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ATEN_CPU_CAPABILITY=avx2`` on a processor with AVX-512: no kernel of 16 bits, the same result without it."""
    q, k, v = (part.to(dtype) for part in parts(1, 32, 32)[:3])
    expected = torch.softmax(8**-0.5 * q.float() @ k.float().transpose(-2, -1), -1) @ v.float()
    used = []
    monkeypatch.setattr(module, 'sdpa_kernel', lambda backend: used.append(backend) or sdpa_kernel(backend))
    for hidden in (True, bf16_units.avx512_is_hidden()):
        monkeypatch.setattr(module, 'avx512_is_hidden', lambda hidden=hidden: hidden)
        assert_close(
            dot_product_attention(q, k, v).float(),
            expected,
            4 * torch.finfo(dtype).eps / torch.finfo(torch.float32).eps,
        )
        assert dot_product_attention(q.float(), k.float(), v.float()).dtype == torch.float32
    assert used[0] == SDPBackend.MATH and len(used) == 1 + bf16_units.avx512_is_hidden()


@pytest.mark.parametrize(
    ('processor', 'used', 'units'),
    [
        (('avx512_f', 'amx_bf16'), 'AVX512', True),
        (('avx512_f', 'amx_bf16'), 'AVX2', False),
        (('avx512_f', 'avx512_bf16'), 'DEFAULT', False),
        (('avx2',), 'AVX2', False),
        (('arm_bf16',), 'DEFAULT', True),
    ],
)
def test_units_that_pytorch_is_told_to_leave_out(
    processor: tuple[str, ...], used: str, units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict.fromkeys(processor, True), raising=False)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: used)
    functions = bf16_units.cpu_has_bf16_units, bf16_units.avx512_is_hidden
    for function in functions:
        function.cache_clear()
    try:
        assert bf16_units.cpu_has_bf16_units() == units
    finally:
        for function in functions:
            function.cache_clear()
