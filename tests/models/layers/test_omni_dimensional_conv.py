"""ODConv against its equation, image by image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsam_ext.models.layers import OmniDimensionalConv
from tests.naming import raises_naming
from tests.numeric import LAYER, OPERATION, assert_close


def conv(**changes: int) -> OmniDimensionalConv:
    torch.manual_seed(0)
    layer = OmniDimensionalConv(**{**dict(in_channels=5, out_channels=7), **changes})
    for parameter in layer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return layer


def by_equation(layer: OmniDimensionalConv, image: Tensor) -> Tensor:
    """(C, h, w) -> (O, h, w): the attentions multiplied onto each kernel, the kernels summed, a plain convolution."""
    hidden = layer.hidden(image.mean((1, 2))[None])[0]
    T = layer.temperature
    channel = torch.sigmoid(layer.input_attention(hidden) / T)
    filters = torch.sigmoid(layer.output_attention(hidden) / T)
    spatial = torch.sigmoid(layer.spatial_attention(hidden) / T)
    kernel = torch.softmax(layer.kernel_attention(hidden) / T, 0)
    size = layer.weight.shape[-1]
    weight = torch.zeros_like(layer.weight[0])
    for share, one in zip(kernel, layer.weight, strict=True):
        weight += share * filters[:, None, None, None] * channel[:, None, None] * spatial.view(1, 1, size, size) * one
    return F.conv2d(image[None], weight, padding=layer.dilation * (size // 2), dilation=layer.dilation)[0]


@pytest.mark.parametrize('changes', [{}, dict(dilation=2), dict(kernel_size=1), dict(kernel_size=5, num_kernels=1)])
@pytest.mark.parametrize('batch', [1, 3])
def test_is_the_equation(changes: dict[str, int], batch: int) -> None:
    layer = conv(**changes)
    layer.temperature.fill_(3.0)
    x = torch.randn(batch, 5, 9, 8)
    expected = torch.stack([by_equation(layer, image) for image in x])
    assert expected.shape == (batch, 7, 9, 8) and expected.std() > 0.01
    assert_close(layer.train()(x), expected, LAYER)
    for parameter, gradient in zip(
        layer.parameters(), torch.autograd.grad(layer(x).square().sum(), list(layer.parameters())), strict=True
    ):
        # the only kernel of one has a share of 1, whatever its attention
        constant = layer.weight.shape[0] == 1 and parameter in set(layer.kernel_attention.parameters())
        assert constant or gradient.abs().max() > 0


def test_channels_last() -> None:
    layer, x = conv(), torch.randn(2, 5, 9, 8)
    assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x), OPERATION)


def test_temperature_evens_out_the_attentions() -> None:
    layer, x = conv(), torch.randn(2, 5, 9, 8)
    _, _, _, sharp = layer.attentions(x)
    layer.temperature.fill_(1e6)
    channel, filters, spatial, kernel = layer.attentions(x)
    # A logit of order 1 over a temperature of 1e6 moves a softmax or a sigmoid by at most 1e-6, about 10 ulps.
    assert_close(kernel, torch.full_like(kernel, 0.25))
    assert sharp.std() > 1e-3
    for attention in (channel, filters, spatial):
        assert_close(attention, torch.full_like(attention, 0.5))
    assert layer.state_dict()['temperature'] == 1e6, 'a checkpoint is tested at the temperature it was trained at'


def test_parameters_at_full_width() -> None:
    """4 kernels of 256 x 256 x 3 x 3, a hidden layer of 16 with its norm, and four heads on it."""
    heads = 17 * (256 + 256 + 9 + 4)
    layer = OmniDimensionalConv(256, 256)
    assert sum(p.numel() for p in layer.parameters()) == 4 * 256 * 256 * 9 + 256 * 16 + 32 + heads


@pytest.mark.parametrize('change', [dict(kernel_size=2), dict(dilation=0), dict(num_kernels=0)])
def test_refuses(change: dict[str, int]) -> None:
    with raises_naming(ValueError, *next(iter(change.items()))):
        conv(**change)
