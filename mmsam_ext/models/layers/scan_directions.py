"""The orders in which an image's tokens are scanned."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

DIRECTIONS = (1, 2, 4, 8)


def scan_orders(height: int, width: int, number: int, device: torch.device | str = 'cpu') -> Tensor:
    """Return permutations of the tokens of a height x width grid, computed once for each size and device.

    Args:
        height: Height of the grid.
        width: Width of the grid.
        number: K, how many to take from this list: rows, columns, diagonals (along which x and y grow; from the lower
            left to the upper right one), antidiagonals (x grows, y falls; from the upper left to the lower right one),
            each forward and then backward. 4 are rows and columns, 2 rows, 1 is rows forwards.
        device: Where the result is.

    Returns:
        (K, L) int64, the token (row by row) at each step.

    Raises:
        ValueError: `number` is not 1, 2, 4 or 8.
    """
    return _on_device(_orders, height, width, number, device)


@lru_cache(maxsize=16)
def _orders(height: int, width: int, number: int) -> np.ndarray:
    """Return (K, L) int64, see :func:`scan_orders`."""
    if number not in DIRECTIONS:
        raise ValueError(f'{number} scan directions, expected one of {DIRECTIONS}')
    token = np.arange(height * width, dtype=np.int64)
    y, x = token // width, token % width
    # Sorted by the line that a token lies on, then by its place on the line.
    forward = (token, x * height + y, (x - y) * width + x + height * width, (x + y) * width + x)
    orders = [key.argsort() for key in forward[: max(1, number // 2)]]
    return np.stack([order for one in orders for order in (one, one[::-1])][:number])


@lru_cache(maxsize=16)
def _inverse_orders(height: int, width: int, number: int) -> np.ndarray:
    """Return the step at which each token comes, (K, L) int64."""
    return _orders(height, width, number).argsort(1)


def _on_device(
    table: Callable[[int, int, int], np.ndarray], height: int, width: int, number: int, device: torch.device | str
) -> Tensor:
    """A table's tensor. Within a dispatch mode (fake tensors, tracing) a tensor belongs to that mode: not kept."""
    make = _tensor.__wrapped__ if is_in_torch_dispatch_mode() else _tensor
    return make(table, int(height), int(width), int(number), device)  # numbers are tensors while a graph is traced


@lru_cache(maxsize=32)
def _tensor(
    table: Callable[[int, int, int], np.ndarray], height: int, width: int, number: int, device: torch.device | str
) -> Tensor:
    """A plain tensor whatever mode asks for it first: one made in inference mode could not be trained with later."""
    with torch.inference_mode(False):
        return torch.as_tensor(table(height, width, number), device=device)


def split_directions(tokens: Tensor, size: tuple[int, int], number: int) -> Tensor:
    """Put tokens (b, h * w, d) into K orders, (b, K, h * w, d)."""
    if _tracing():
        return _split(tokens, size, number)
    return _Split.apply(tokens, size, number)


def merge_directions(scanned: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, K, h * w, d) -> (b, h * w, d): the sum over K orders of what belongs to a token."""
    return _merge(scanned, size) if _tracing() else _Merge.apply(scanned, size)


def _tracing() -> bool:
    """Return whether a graph is traced, which cannot hold functions with a gradient of their own."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _split(tokens: Tensor, size: tuple[int, int], number: int) -> Tensor:
    orders = scan_orders(*size, number, tokens.device)
    return tokens.index_select(1, orders.flatten()).unflatten(1, orders.shape)


def _merge(scanned: Tensor, size: tuple[int, int]) -> Tensor:
    number = scanned.shape[1]
    steps = _on_device(_inverse_orders, *size, number, scanned.device)
    merged = scanned[:, 0].index_select(1, steps[0])
    for direction in range(1, number):
        # Not in place: torch.compile (2.11) then takes the gradient of the autograd.Function below for zero.
        merged = merged + scanned[:, direction].index_select(1, steps[direction])
    return merged


# Each is the other's gradient, so both directions are plain gathers. (PyTorch's own gradient of a gather adds up at
# indices, one row after the other on a CPU.)


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens: Tensor, size: tuple[int, int], number: int) -> Tensor:
        ctx.size = size
        return _split(tokens, size, number)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Merge.apply(grad, ctx.size), None, None


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scanned: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size, ctx.number = size, scanned.shape[1]
        return _merge(scanned, size)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _Split.apply(grad, ctx.size, ctx.number), None
