"""MuonAdamW against PyTorch's own two optimizers."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from mmsam_ext.engine.optimizers import muon_adamw as module
from mmsam_ext.engine.optimizers.muon_adamw import orthogonalized


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 6)  # two dimensions, but no matrix of a linear layer
        self.first = nn.Linear(6, 8)
        self.norm = nn.LayerNorm(8)
        self.last = nn.Linear(8, 4)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(self.table(rows)))).pow(2).mean()


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def muon_adamw(model: nn.Module) -> torch.optim.Optimizer:
    init_default_scope('mmseg')
    settings = dict(
        type='OptimWrapper',
        constructor='TrainableOptimWrapperConstructor',
        optimizer=dict(type='MuonAdamW', lr=0.01, weight_decay=0.1),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    )
    return build_optim_wrapper(model, settings).optimizer


def train(model: nn.Module, optimizers: list, steps: range) -> None:
    for step in steps:
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group['lr'] = 0.01 / (1 + step)  # as a scheduler does
        loss = model(torch.tensor([step % 5, 2]))
        model.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize('units', [True, False])
def test_same_as_the_two_apart(monkeypatch: pytest.MonkeyPatch, units: bool):
    monkeypatch.setattr(module, 'has_bf16_units', lambda device: units)
    if not units:  # PyTorch has only the bf16 of its direction
        monkeypatch.setattr(
            torch.optim._muon,
            '_zeropower_via_newtonschulz',
            lambda matrix, coefficients, steps, eps: orthogonalized(matrix, steps),
        )
    ours, theirs = net(), net()
    flat = [p for name, p in theirs.named_parameters() if p.ndim == 1]
    apart = [
        torch.optim.Muon([theirs.first.weight, theirs.last.weight], weight_decay=0.1, adjust_lr_fn='match_rms_adamw'),
        torch.optim.AdamW(
            [dict(params=[theirs.table.weight], weight_decay=0.1), dict(params=flat, weight_decay=0.0)],
            betas=(0.9, 0.98),
        ),
    ]
    start = copy.deepcopy(ours)
    train(ours, [muon_adamw(ours)], range(6))
    train(theirs, apart, range(6))
    assert_same(ours, theirs)
    assert all(not torch.equal(a, b) for a, b in zip(ours.parameters(), start.parameters(), strict=True))


def test_resumes_bit_for_bit():
    whole, half = net(), net()
    train(whole, [muon_adamw(whole)], range(6))
    optimizer = muon_adamw(half)
    train(half, [optimizer], range(3))
    resumed = net()
    resumed.load_state_dict(half.state_dict())
    again = muon_adamw(resumed)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(resumed, [again], range(3, 6))
    assert_same(whole, resumed)


@pytest.mark.parametrize('shape', [(6, 9), (9, 6), (7, 7)])
def test_direction_is_the_quintic_of_the_singular_values(shape: tuple[int, int]):
    """A Newton-Schulz step keeps singular vectors and maps each singular value s to a s + b s^3 + c s^5."""
    torch.manual_seed(1)
    matrix = torch.randn(shape, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values = values / matrix.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(orthogonalized(matrix), left @ values.diag() @ right)
