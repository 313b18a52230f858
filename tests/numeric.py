"""Comparisons of floating-point results whose tolerance follows from the dtype and the magnitude of the values.

Another processor, instruction set or number of threads adds up the same products in another order. What differs then is
a number of units in the last place (ulps) of the largest value: `ulps * eps(dtype) * max |expected|`. Bitwise equality
(``torch.equal``) is only asserted where the same operations run on the same shapes, or where values are only copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

OPERATION = 16  # one operation, or a few elementwise ones
LAYER = 128  # sums over hundreds of products: a linear layer, an attention, a block
MODEL = 2048  # an encoder and a decoder, forward or backward


def error_in_ulps(actual: Any, expected: Any, scale: float | None = None) -> float:
    """Return the largest difference in ulps of ``scale``, infinite where one of the two is not finite.

    Args:
        actual: Tensor, array, list or number.
        expected: The same shape; the coarser of both dtypes counts, numbers and lists count as 64-bit.
        scale: Magnitude of the values that were added up, by default the largest of ``expected``.
    """
    pair = [value.detach().cpu() if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value)) for value in
            (actual, expected)]  # fmt: skip
    shapes = [tuple(value.shape) for value in pair]
    assert shapes[0] == shapes[1], f'shapes {shapes[0]} and {shapes[1]}'
    eps = max((torch.finfo(value.dtype).eps for value in pair if value.is_floating_point()), default=0.0)
    assert eps, f'{pair[0].dtype} and {pair[1].dtype}: no rounding in whole numbers, compare them for equality'
    got, want = (value.double() for value in pair)
    if not got.numel():
        return 0.0
    scale = float(want.abs().max()) if scale is None else scale
    difference = float(torch.where(got == want, 0.0, (got - want).abs()).max())  # equal infinities do not differ
    return difference / (eps * max(scale, torch.finfo(torch.float32).tiny)) if np.isfinite(difference) else np.inf


def assert_close(
    actual: Any, expected: Any, ulps: float = LAYER, scale: float | None = None, name: object = ''
) -> None:
    """Assert that two results differ by rounding alone.

    Args:
        actual: See :func:`error_in_ulps`.
        expected: See :func:`error_in_ulps`.
        ulps: How many units in the last place of the largest value may differ.
        scale: See :func:`error_in_ulps`.
        name: What is compared, for the message.
    """
    error = error_in_ulps(actual, expected, scale)
    assert error <= ulps, f'{name} differs by {error:.3g} ulps, expected at most {ulps}'


def assert_differs(actual: Any, expected: Any, share: float = 1e-3, name: object = '') -> None:
    """Assert that two results differ by more than rounding: by ``share`` of the largest expected value."""
    pair = [torch.as_tensor(value).detach().double() for value in (actual, expected)]
    error = error_in_ulps(*pair) * torch.finfo(torch.float64).eps
    assert error > share, f'{name} differs by {error:.3g} of the largest value, expected more than {share}'


def assert_same_mask(mask: Any, expected: Any, share: float = 1e-3) -> None:
    """Assert that boolean masks agree but for ``share`` of the pixels, whose logits are 0 up to rounding."""
    pair = [torch.as_tensor(value).bool() for value in (mask, expected)]
    assert pair[0].shape == pair[1].shape, f'shapes {tuple(pair[0].shape)} and {tuple(pair[1].shape)}'
    different = float((pair[0] != pair[1]).double().mean())
    assert different <= share, f'{different:.2%} of the pixels differ, expected at most {share:.2%}'
