"""When SAMFeatures.once computes a result again, and when it returns the stored one."""

from __future__ import annotations

import torch
from torch import nn

from mmsam_ext.structures import MaskPrediction, SAMFeatures


def test_one_rule_decides_when_a_result_is_used_again() -> None:
    features, calls = SAMFeatures(torch.zeros(1, 2, 3, 3)), []
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)

    def count(*settings, what: str = 'result', weights: nn.Module | None = None) -> int:
        features.once(what, lambda: calls.append(1), *settings, weights=weights)
        return len(calls)

    assert count() == count() == 1
    assert count(what='another') == 2
    assert count(0.5) == count(0.5) == 3
    assert count(weights=one) == count(weights=one) == 4
    assert count(weights=other) == 5
    with torch.no_grad():
        assert count(weights=one) == 6  # a graph must not miss what was computed without gradients
        one.weight.add_(1)
        assert count(weights=one) == 7  # outdated weights
    with torch.inference_mode():
        made = nn.Linear(2, 2)  # parameters without versions
        assert count(weights=made) == 8 and count(weights=made) == 9


def test_joined_and_picked() -> None:
    parts = [MaskPrediction(torch.arange(4.0).view(1, 4, 1, 1) + row, torch.full((1, 4), row)) for row in (20.0, 10.0)]
    both = MaskPrediction.joined(parts, torch.tensor([1, 0]))
    assert both.logits[:, 0, 0, 0].tolist() == [10, 20] and both.upscaled is None
    logits, iou = both.pick(torch.tensor([3, 1]))
    assert logits.flatten().tolist() == [13, 21] and iou.tolist() == [10, 20]
