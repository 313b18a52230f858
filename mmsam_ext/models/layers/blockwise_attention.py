"""Attention with decomposed relative positions on a CPU, a block of scores at a time, with its own backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Rows of scores of one head that are computed at a time, and windows times heads.
ROWS, WINDOWS = 256, 25


def attend_by_rows(q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float) -> Tensor:
    """Attend with many tokens, a head and :data:`ROWS` rows of scores at a time.

    score(i, j) = scale q_i k_j + rel_h[i, row of j] + rel_w[i, column of j]

    The backward pass computes the scores of a block again, so no more than one block is ever kept. It adds up the
    gradients of keys and values in fp32 (fp64 for inputs in fp64).

    Args:
        q: (G, N, d), G images times heads, N = H * W.
        k: (G, N, d).
        v: (G, N, d).
        rel_h: (G, N, H).
        rel_w: (G, N, W).
        scale: Factor of the products.

    Returns:
        (G, N, d), differentiable once in all tensors.
    """
    return _Rows.apply(q, k, v, rel_h, rel_w, scale)  # pyright: ignore[reportReturnType]


def attend_by_windows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with few tokens, :data:`WINDOWS` groups at a time: softmax(q k') v.

    Args:
        q: (G, N, c), G windows times heads, with the scale and the positions folded in.
        k: (G, N, c).
        v: (G, N, d).

    Returns:
        (G, N, d), differentiable once in all tensors.
    """
    return _Windows.apply(q, k, v)  # pyright: ignore[reportReturnType]


def _without_autocast(function: Callable) -> Callable:
    """Make products in the format of the inputs, whatever autocast says."""

    @wraps(function)
    def call(ctx: Any, *args: Any) -> Any:
        with torch.autocast('cpu', enabled=False):
            return function(ctx, *args)

    return call


class _Rows(torch.autograd.Function):
    @staticmethod
    @_without_autocast
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, rel_h, rel_w)
        ctx.scale = scale
        out = q.new_empty(q.shape)
        blocks = _Scores(q, k, rel_h, rel_w, scale)
        for group in range(len(q)):
            for rows in blocks.rows:
                torch.mm(blocks.weights(group, rows), v[group], out=out[group, rows])
        return out

    @staticmethod
    @once_differentiable
    @_without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, rel_h, rel_w = ctx.saved_tensors
        height, width = rel_h.shape[-1], rel_w.shape[-1]
        grads = tuple(one.new_empty(one.shape) for one in (q, k, v, rel_h, rel_w))
        grad_q, grad_k, grad_v, grad_rel_h, grad_rel_w = grads
        blocks = _Scores(q, k, rel_h, rel_w, ctx.scale)
        exact = torch.promote_types(q.dtype, torch.float32)
        for group in range(len(q)):
            sum_k, sum_v = (torch.zeros(one.shape[1:], dtype=exact) for one in (k, v))
            for rows in blocks.rows:
                weights, given = blocks.weights(group, rows), gradient[group, rows]
                sum_v += torch.mm(weights.t(), given)
                scores = _softmax_backward(torch.mm(given, v[group].t()), weights)  # (rows, N)
                torch.mm(scores, k[group], out=grad_q[group, rows])
                sum_k += torch.mm(scores.t(), q[group, rows])
                on_grid = scores.view(-1, height, width)
                torch.sum(on_grid, 2, out=grad_rel_h[group, rows])
                torch.sum(on_grid, 1, out=grad_rel_w[group, rows])
            grad_k[group], grad_v[group] = sum_k.mul_(ctx.scale), sum_v
        return grad_q.mul_(ctx.scale), *grads[1:], None


class _Scores:
    """Compute softmax weights of a few rows, in one buffer of scores."""

    def __init__(self, q: Tensor, k: Tensor, rel_h: Tensor, rel_w: Tensor, scale: float) -> None:
        self.q, self.k, self.rel_h, self.rel_w, self.scale = q, k, rel_h, rel_w, scale
        tokens = q.shape[1]
        self.rows = [slice(start, min(start + ROWS, tokens)) for start in range(0, tokens, ROWS)]
        self.buffer = q.new_empty(min(ROWS, tokens), rel_h.shape[-1], rel_w.shape[-1])

    def weights(self, group: int, rows: slice) -> Tensor:
        """Return (rows, N)."""
        scores = self.buffer[: rows.stop - rows.start]
        torch.add(self.rel_h[group, rows, :, None], self.rel_w[group, rows, None, :], out=scores)
        scores = scores.flatten(1)
        torch.addmm(scores, self.q[group, rows], self.k[group].t(), alpha=self.scale, out=scores)
        return torch.softmax(scores, -1)


class _Windows(torch.autograd.Function):
    @staticmethod
    @_without_autocast
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        out = v.new_empty(v.shape)
        for part in _parts(v):
            torch.bmm(_window_weights(q[part], k[part]), v[part], out=out[part])
        return out

    @staticmethod
    @once_differentiable
    @_without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = grads = tuple(one.new_empty(one.shape) for one in (q, k, v))
        for part in _parts(v):
            weights, given = _window_weights(q[part], k[part]), gradient[part]
            torch.bmm(weights.transpose(1, 2), given, out=grad_v[part])
            scores = _softmax_backward(torch.bmm(given, v[part].transpose(1, 2)), weights)
            torch.bmm(scores, k[part], out=grad_q[part])
            torch.bmm(scores.transpose(1, 2), q[part], out=grad_k[part])
        return grads


def _parts(v: Tensor) -> list[slice]:
    return [slice(start, start + WINDOWS) for start in range(0, len(v), WINDOWS)]


def _window_weights(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1)


def _softmax_backward(gradient: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of scores by that of their softmax over the last axis, in one pass."""
    return torch.ops.aten._softmax_backward_data(gradient, weights, -1, weights.dtype)  # noqa: SLF001
