"""The orders in which an image's tokens are scanned."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

DIRECTIONS = (1, 2, 4, 8)


@lru_cache(maxsize=16)
def scan_orders(height: int, width: int, number: int, device: torch.device | None = None) -> Tensor:
    """Permutations of the tokens of a height x width grid, computed once for each size and device.

    Args:
        number: K, the first so many of: rows, columns, diagonals (along which x and y grow; from the lower left to the
            upper right one), antidiagonals (x grows, y falls; from the upper left to the lower right one), each forward
            and then backward. 4 are rows and columns, 2 rows, 1 is rows forwards.

    Returns:
        (K, L) int64, the token (row by row) at each step.

    Raises:
        ValueError: a number of directions that is none of 1, 2, 4 and 8.
    """
    if number not in DIRECTIONS:
        raise ValueError(f'{number} scan directions, expected one of {DIRECTIONS}')
    token = torch.arange(height * width, device=device)
    y, x = token // width, token % width
    # Sorted by the line that a token lies on, then by its place on the line.
    forward = (token, x * height + y, (x - y) * width + x + height * width, (x + y) * width + x)
    orders = [key.argsort() for key in forward[: max(1, number // 2)]]
    return torch.stack([order for one in orders for order in (one, one.flip(0))][:number])


@lru_cache(maxsize=16)
def _inverse_orders(height: int, width: int, number: int, device: torch.device | None = None) -> Tensor:
    """(K, L): the step at which each token comes."""
    return scan_orders(height, width, number, device).argsort(1)


def split_directions(tokens: Tensor, size: tuple[int, int], number: int) -> Tensor:
    """(b, h * w, d) -> (b, K, h * w, d): the tokens in K orders."""
    return _Split.apply(tokens, size, number)


def merge_directions(scanned: Tensor, size: tuple[int, int]) -> Tensor:
    """(b, K, h * w, d) -> (b, h * w, d): the sum over K orders of what belongs to a token."""
    return _Merge.apply(scanned, size)


# Each is the other's gradient, so both directions are plain gathers. (PyTorch's own gradient of a gather adds up at
# indices, one row after the other on a CPU.)


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens: Tensor, size: tuple[int, int], number: int) -> Tensor:
        ctx.size = size
        orders = scan_orders(*size, number, tokens.device)
        return tokens.index_select(1, orders.flatten()).unflatten(1, orders.shape)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Merge.apply(grad, ctx.size), None, None


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scanned: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.size, ctx.number = size, scanned.shape[1]
        steps = _inverse_orders(*size, ctx.number, scanned.device)
        merged = scanned[:, 0].index_select(1, steps[0])
        for direction in range(1, ctx.number):
            merged += scanned[:, direction].index_select(1, steps[direction])
        return merged

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _Split.apply(grad, ctx.size, ctx.number), None
