"""The selective scan against a sequential loop: what ``tools/benchmark.py scan`` runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from mmsam_ext.models.layers import selective_scan

from .comparison import compare_all, table
from .interleaved import CONTENDER, interleave, serve

#: Scan directions, channels, states, and the side of a token in pixels.
GROUPS, CHANNELS, STATES, STRIDE = 8, 256, 16, 16
PASSES = ('forward', 'forward_backward')


def sequential(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Scan step by step. The coefficients of all steps are computed at once, and all directions run together.

    Args:
        u: Inputs (b, K, L, d).
        delta: Step sizes (b, K, L, d).
        A: State matrix (K, d, N).
        B: Input projection (b, K, L, N).
        C: Output projection (b, K, L, N).

    Returns:
        Outputs (b, K, L, d).
    """
    u, delta, B, C = (value.permute(2, 0, 1, 3) for value in (u, delta, B, C))  # (L, b, K, .)
    factors = torch.exp(delta.unsqueeze(-1) * A)  # (L, b, K, d, N)
    terms = (delta * u).unsqueeze(-1) * B.unsqueeze(-2)
    state = torch.zeros_like(factors[0])
    outputs = []
    for factor, term, c in zip(factors.unbind(0), terms.unbind(0), C.unsqueeze(-1).unbind(0), strict=True):
        state = factor * state + term
        outputs.append((state @ c).squeeze(-1))
    return torch.stack(outputs).permute(1, 2, 0, 3)


def prepare(contender: str, what: str, size: int, device: torch.device) -> Callable[[], Tensor]:
    """Return the work of a contender, 'stock' (the loop) or 'ours', for an image of `size` x `size` pixels.

    The work returns the outputs, or in the pass 'forward_backward' the gradient of u.
    """
    torch.manual_seed(0)
    length = (size // STRIDE) ** 2
    inputs = (
        torch.randn(1, GROUPS, length, CHANNELS, device=device),
        torch.rand(1, GROUPS, length, CHANNELS, device=device) * 0.1,
        -torch.arange(1.0, STATES + 1, device=device).expand(GROUPS, CHANNELS, STATES).clone(),
        torch.randn(1, GROUPS, length, STATES, device=device),
        torch.randn(1, GROUPS, length, STATES, device=device),
    )
    weights = torch.randn(1, GROUPS, length, CHANNELS, device=device)  # of y in a loss
    scan = dict(stock=sequential, ours=selective_scan)[contender]

    def forward() -> Tensor:
        with torch.no_grad():
            return scan(*inputs)

    def both() -> Tensor:
        leaves = [value.detach().requires_grad_() for value in inputs]
        scan(*leaves).backward(weights)
        return leaves[0].grad

    return forward if what == 'forward' else both


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Time both contenders in turn; returns 'scan_<pass>' -> comparison."""
    outcomes = {}
    for what in PASSES:
        say(f'scan {what} ...')
        commands = {name: [*CONTENDER, 'scan', name, what, str(args.size), str(device)] for name in ('stock', 'ours')}
        outcomes[f'scan_{what}'] = interleave(commands, args.repeats, say)
    return compare_all(outcomes)


def contend(contender: str, what: str, size: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`run` starts."""
    device = torch.device(place)
    serve(prepare(contender, what, int(size), device), device, output)


__all__ = ['PASSES', 'contend', 'prepare', 'run', 'sequential', 'table']
