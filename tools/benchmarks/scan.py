"""The selective scan against a sequential loop that is written well: a contender of tools/benchmark.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmsam_ext.models.layers import selective_scan

from .interleaved import CONTENDER, Outcome, interleave, serve

#: Scan directions, channels, states; pixels of a side that are a token.
GROUPS, CHANNELS, STATES, STRIDE = 8, 256, 16, 16
PASSES = ('forward', 'forward_backward')


def sequential(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Coefficients of all steps at once with time first, a loop over the unbound steps, all directions together."""
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
    """The work of a contender, 'stock' (the loop) or 'ours': y, or the gradient of u, for an image of `size` pixels."""
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


def measure(repeats: int, size: int, device: torch.device, say: Callable[[str], None]) -> dict[str, dict[str, Outcome]]:
    """Pass -> contender -> what it did."""
    outcomes = {}
    for what in PASSES:
        say(f'scan {what} ...')
        commands = {name: [*CONTENDER, 'scan', name, what, str(size), str(device)] for name in ('stock', 'ours')}
        outcomes[f'scan_{what}'] = interleave(commands, repeats, say)
    return outcomes


def contend(contender: str, what: str, size: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`measure` starts."""
    device = torch.device(place)
    serve(prepare(contender, what, int(size), device), device, output)
