"""Selective scan of Mamba (Gu and Dao 2023): a linear recurrence whose coefficients depend on the input."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor
from torch.autograd.function import once_differentiable

BACKENDS = ('auto', 'mamba_ssm', 'torch')
#: The module of mamba-ssm that holds its Mamba-1 kernel; the package imports without it, and fails when it is used.
KERNEL = 'selective_scan_cuda'
#: The module of mamba-ssm whose function calls it.
INTERFACE = 'mamba_ssm.ops.selective_scan_interface'
#: Numbers in a buffer of a chunk unless `chunk_size` is given: 16 steps of 8 directions, 16 states and 256 channels.
CHUNK_VALUES = 2**19
#: Largest state that the kernel takes.
KERNEL_STATES = 256


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str = 'auto',
    chunk_size: int | None = None,
) -> Tensor:
    """Compute the output of the discretised state space model for K independent groups (scan directions) in one call.

    ::

        delta = softplus(delta + delta_bias)                      if enabled
        h[t] = exp(delta[t] A) * h[t - 1] + delta[t] B[t] u[t]    h[-1] = 0
        y[t] = C[t] h[t] + D u[t]

    This is ``selective_scan_ref`` of mamba-ssm (A by zero-order hold, B by Euler's rule; B and C differ by step), with
    groups and time in dimensions of their own and channels last: that is how the fastest formulation on a CPU reads
    them.

    Args:
        u: (b, K, L, d) inputs.
        delta: (b, K, L, d) step sizes; positive after bias and softplus.
        A: (K, d, N), negative where the state shall decay.
        B: (b, K, L, N), writes the input into the state.
        C: (b, K, L, N), reads the output from the state.
        D: (K, d), what is passed on directly; None for nothing.
        delta_bias: (K, d) added to delta; None for nothing.
        delta_softplus: Apply softplus to delta.
        backend: 'mamba_ssm' for that package's CUDA kernel, 'torch' for the scan below, 'auto' for the kernel where it
            can be imported and the inputs are on a GPU. Both compute in fp32 (fp64 stays so with 'torch').
        chunk_size: Steps that 'torch' holds at a time: buffers are chunk_size * b * K * N * d numbers, and as many
            states as there are chunks are kept for the backward pass. None: as many as fill a buffer of
            :data:`CHUNK_VALUES` numbers, which stays in a processor's cache; 4 to 64.

    Returns:
        (b, K, L, d) in u's dtype.

    Raises:
        ValueError: shapes that do not fit, an unknown backend, a chunk size below 1, or a state that the kernel cannot
            take.
        RuntimeError: ``backend='mamba_ssm'`` without its kernel or with inputs on a CPU; says how to install it.
    """
    _check_shapes(u, delta, A, B, C, D, delta_bias, chunk_size)
    if pick_backend(backend, u, A.shape[-1]) == 'mamba_ssm':
        return _kernel_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    dtype = torch.promote_types(u.dtype, torch.float32)
    x, delta, A, B, C = (value.to(dtype) for value in (u, delta, A, B, C))
    with torch.autocast(u.device.type, enabled=False):
        if delta_bias is not None:
            delta = delta + delta_bias.to(dtype)[:, None]
        if delta_softplus:
            delta = F.softplus(delta)
        if torch.jit.is_tracing() or torch.compiler.is_exporting():  # pyright: ignore[reportPrivateImportUsage]
            y = doubling_scan(x, delta, A, B, C)
        else:
            size = chunk_size or min(64, max(4, CHUNK_VALUES // (x[:, :, 0].numel() * A.shape[-1])))
            y = _ChunkedScan.apply(x, delta, A.transpose(1, 2).contiguous(), B, C, size)
        if D is not None:
            y = torch.addcmul(y, x, D.to(dtype)[:, None])
    return y.to(u.dtype)


def pick_backend(backend: str, u: Tensor, states: int) -> str:
    """'mamba_ssm' or 'torch', for inputs like `u` and N = `states`; errors as :func:`selective_scan`."""
    if backend not in BACKENDS:
        raise ValueError(f'selective_scan: backend={backend!r}, expected one of {BACKENDS}')
    if backend == 'torch':
        return 'torch'
    if backend == 'auto':
        suits = u.is_cuda and u.dtype != torch.float64 and states <= KERNEL_STATES
        return 'mamba_ssm' if suits and kernel_error() is None else 'torch'
    if kernel_error() is not None:
        raise RuntimeError(
            "selective_scan: backend='mamba_ssm', but its kernel is not installed, or cannot be imported "
            f'({kernel_error()}). It needs an NVIDIA GPU and nvcc: '
            'MAMBA_KEEP_CUDA_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE pip install --no-build-isolation -r '
            "requirements/mamba.txt. backend='auto' takes PyTorch where there is no kernel"
        )
    if not u.is_cuda:
        raise RuntimeError(f"selective_scan: backend='mamba_ssm' with inputs on {u.device}, expected a CUDA device")
    if states > KERNEL_STATES:
        raise ValueError(f"selective_scan: {states} states, expected at most {KERNEL_STATES} with backend='mamba_ssm'")
    return backend


@lru_cache(maxsize=1)
def kernel_error() -> str | None:
    """Return why mamba-ssm's kernel cannot be imported, or None if it can.

    The import is tried once per process. An installation that is incomplete (built for another PyTorch, or a kernel
    without its package) is logged.
    """
    try:
        importlib.import_module(KERNEL)
        importlib.import_module(INTERFACE)
    except Exception as error:  # what a broken build raises is its own affair
        reason = f'{type(error).__name__}: {error}'
        if getattr(error, 'name', None) != KERNEL or not isinstance(error, ModuleNotFoundError):
            print_log(f'selective_scan: mamba-ssm is there and fails to import: {reason}', 'current', logging.WARNING)
        return reason
    return None


def _check_shapes(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    chunk_size: int | None,
) -> None:
    if u.ndim != 4 or A.ndim != 3 or 0 in u.shape or 0 in A.shape:
        raise ValueError(
            f'selective_scan: u is {tuple(u.shape)} and A {tuple(A.shape)}, expected (b, K, L, d) and (K, d, N), '
            'none of them 0'
        )
    groups, length, channels = u.shape[1:]
    states = A.shape[-1]
    wanted = dict(delta=tuple(u.shape), A=(groups, channels, states))
    wanted['B'] = wanted['C'] = (len(u), groups, length, states)
    wanted['D'] = wanted['delta_bias'] = (groups, channels)
    for name, value in dict(delta=delta, A=A, B=B, C=C, D=D, delta_bias=delta_bias).items():
        if value is not None and tuple(value.shape) != wanted[name]:
            raise ValueError(
                f'selective_scan: {name} is {tuple(value.shape)}, expected {wanted[name]} with u {tuple(u.shape)} and '
                f'N = {states}'
            )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f'selective_scan: chunk_size={chunk_size}, expected 1 or more')


def _kernel_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Run :func:`selective_scan` on mamba-ssm's kernel, which takes the channels of all groups in one dimension."""
    from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports] (optional)
        selective_scan_fn,
    )

    batch, groups, length, channels = u.shape
    y = selective_scan_fn(
        u.float().transpose(2, 3).reshape(batch, groups * channels, length),
        delta.float().transpose(2, 3).reshape(batch, groups * channels, length),
        A.float().flatten(0, 1),
        B.float().transpose(2, 3).contiguous(),  # (b, K, N, L)
        C.float().transpose(2, 3).contiguous(),
        None if D is None else D.float().flatten(),
        delta_bias=None if delta_bias is None else delta_bias.float().flatten(),
        delta_softplus=delta_softplus,
    )
    return y.view(batch, groups, channels, length).transpose(2, 3).to(u.dtype)


def doubling_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute the recurrence of :func:`selective_scan` without loops over time and without buffers, for exporters.

    Each of log2(L) rounds joins every step with the one 2^k before it: (a, b) after (a', b') is (a a', a b' + b). That
    is more work and memory than the scan by chunks, which a traced graph could not hold.

    Args:
        u: (b, K, L, d) inputs.
        delta: (b, K, L, d) positive step sizes.
        A: (K, d, N).
        B: (b, K, L, N).
        C: (b, K, L, N).

    Returns:
        (b, K, L, d), C[t] h[t].
    """
    decay = torch.exp(delta[..., None] * A[:, None])  # (b, K, L, d, N)
    state = (delta * u)[..., None] * B[..., None, :]
    length, reach = int(u.shape[2]), 1
    while reach < length:
        before = F.pad(state[:, :, :-reach], (0, 0, 0, 0, reach, 0))
        earlier = F.pad(decay[:, :, :-reach], (0, 0, 0, 0, reach, 0), value=1.0)
        state, decay = state + decay * before, decay * earlier
        reach *= 2
    return (state * C[..., None, :]).sum(-1)


class _ChunkedScan(torch.autograd.Function):
    """y[t] = C[t] h[t], chunk by chunk.

    What can be computed for all steps of a chunk is; the recurrence itself is one fused multiply-add for each step, on
    all batches, groups, states and channels. Parallel forms (doubling, carries between chunks) were slower on a CPU,
    since they do more work than memory can feed. The backward pass keeps the state at each chunk's start, computes the
    chunk again, and runs the recurrence in reverse.

    With a = exp(delta A), x = delta u, and g[t] the gradient of h[t] in all:
    g[t] = C[t] dy[t] + a[t + 1] g[t + 1], dC = dy h, dB = g x, dx = g B, and da = g h[t - 1], hence
    d(delta A) = da * a.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int) -> Tensor:
        """u, delta (b, K, L, d), A (K, N, d), B and C (b, K, L, N) -> y (b, K, L, d)."""
        chunks = _Chunks(u, delta, A, B, C, chunk_size)
        keep = any(ctx.needs_input_grad)
        states = u.new_zeros(len(chunks.starts) if keep else 1, *chunks.state_shape)
        y = chunks.new()
        state = states[0]
        for index, start in enumerate(chunks.starts):
            if keep:
                states[index] = state
            part = chunks.part(start)
            _, h = chunks.run(part, state)
            state = h[-1].clone()  # the buffer is used again
            torch.matmul(chunks.C[part].contiguous().unsqueeze(-2), h, out=y[part].unsqueeze(-2))
        if keep:
            ctx.save_for_backward(u, delta, A, B, C, states)
            ctx.chunk_size = chunk_size
        return y.permute(1, 2, 0, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """(b, K, L, d) -> gradients of forward's arguments."""
        u, delta, A, B, C, states = ctx.saved_tensors
        chunks = _Chunks(u, delta, A, B, C, ctx.chunk_size)
        grad = grad.permute(2, 0, 1, 3)  # (L, b, K, d)
        grad_u, grad_delta = torch.empty_like(chunks.u), torch.empty_like(chunks.u)
        grad_B, grad_C = chunks.new(chunks.B), chunks.new(chunks.B)
        grad_A = torch.zeros_like(A)
        g, room = torch.empty_like(chunks.h), torch.empty_like(chunks.x)
        g_steps = g.unbind(0)
        carry = u.new_zeros(chunks.state_shape)  # a[t] g[t] of the chunk's successor
        for index in range(len(states) - 1, -1, -1):
            part, state = chunks.part(chunks.starts[index]), states[index]
            a, h = chunks.run(part, state)
            # Dense, as products with strided rows of a chunk take several times as long: (T, b, K, d), (T, b, K, N)
            u, delta, dy, B, C = (v[part].contiguous() for v in (chunks.u, chunks.delta, grad, chunks.B, chunks.C))
            torch.matmul(dy.unsqueeze(-2), h.transpose(-1, -2), out=grad_C[part].unsqueeze(-2))
            now = torch.mul(C.unsqueeze(-1), dy.unsqueeze(-2), out=g[: len(a)])  # (T, b, K, N, d)
            now[-1].add_(carry)
            for t in range(len(a) - 2, -1, -1):
                g_steps[t].addcmul_(chunks.a_steps[t + 1], g_steps[t + 1])
            torch.mul(a[0], now[0], out=carry)
            torch.matmul(chunks.x[: len(a)].unsqueeze(-2), now.transpose(-1, -2), out=grad_B[part].unsqueeze(-2))
            dx = room[: len(a)]
            torch.matmul(B.unsqueeze(-2), now, out=dx.unsqueeze(-2))
            now.mul_(a)  # becomes d(delta A)
            now[0].mul_(state)
            now[1:].mul_(h[:-1])
            grad_A += torch.mul(now, delta.unsqueeze(-2), out=a).sum((0, 1))
            into = torch.sum(now.mul_(chunks.A), -2, out=chunks.x[: len(a)])
            torch.addcmul(into, dx, u, out=grad_delta[part])
            torch.mul(dx, delta, out=grad_u[part])
        back = (1, 2, 0, 3)  # (L, b, K, .) -> (b, K, L, .)
        grads = (grad_u.permute(back), grad_delta.permute(back), grad_A, grad_B.permute(back), grad_C.permute(back))
        return (*grads, None)


class _Chunks:
    """Inputs with time first, and buffers for what is computed of a chunk, used again by the next."""

    def __init__(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, size: int) -> None:
        self.u, self.delta, self.B, self.C = (value.permute(2, 0, 1, 3) for value in (u, delta, B, C))
        self.A = A
        self.size = min(size, len(self.u))
        self.starts = range(0, len(self.u), self.size)
        self.state_shape = (len(u), *A.shape)  # (b, K, N, d)
        self.x = u.new_empty(self.size, *self.u.shape[1:])
        self.a = u.new_empty(self.size, *self.state_shape)
        self.h = torch.empty_like(self.a)
        self.a_steps, self.h_steps = self.a.unbind(0), self.h.unbind(0)

    def new(self, like: Tensor | None = None) -> Tensor:
        """Room for a result, (L, b, K, d) or as `like`, dense with time first, which is how it is written."""
        like = self.u if like is None else like
        return like.new_empty(like.shape)

    def part(self, start: int) -> slice:
        """The steps of a chunk."""
        return slice(start, min(start + self.size, len(self.u)))

    def run(self, part: slice, state: Tensor) -> tuple[Tensor, Tensor]:
        """The state (b, K, N, d) before a chunk -> a and h (T, b, K, N, d), which the next call overwrites, as x."""
        delta = self.delta[part].contiguous()
        length = len(delta)
        x, a, h = self.x[:length], self.a[:length], self.h[:length]
        torch.mul(delta.unsqueeze(-2), self.A, out=a).exp_()
        torch.mul(delta, self.u[part], out=x)
        torch.mul(self.B[part].contiguous().unsqueeze(-1), x.unsqueeze(-2), out=h)
        for t in range(length):
            state = self.h_steps[t].addcmul_(self.a_steps[t], state)
        return a, h
