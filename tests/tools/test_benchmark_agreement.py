"""tools/benchmark.py agreement: masks in bf16 against those in fp32."""

from __future__ import annotations

import benchmark
import pytest
import torch
from benchmarks import agreement

from tests.conftest import find_data


def test_iou_and_its_figures_by_hand() -> None:
    found = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]]).bool()
    truth = torch.tensor([[[1, 0, 1, 1]], [[0, 0, 0, 0]], [[0, 0, 0, 1]]]).bool()
    assert agreement.iou(found, truth).tolist() == [0.25, 1.0, 0.0]
    figures = agreement.figures([(1.0, 0.5, 0.4), (0.5, 0.7, 0.9)])
    assert figures == pytest.approx(dict(masks=2, mean=75, least=50, truth_fp32=60, truth=65), rel=1e-6)
    assert '75.00' in agreement.table(dict(bf16=figures))


@pytest.mark.slow
@pytest.mark.parametrize('arch', ['tiny', 'base'])
def test_on_magnetic_tiles(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mini SAM's masks agree nearly; a model whose masks are inverted in bf16 does not at all."""
    monkeypatch.chdir(find_data('mtd').parents[1])
    args = benchmark.parse(['agreement', '--arch', arch, '--size', '256', '--images', '2', '--device', 'cpu'])
    result = agreement.run(args, args.device, lambda line: None)['bf16']
    assert result['masks'] >= 4 and result['mean'] > 80 and result['mean'] >= result['least'] > 50
    if arch == 'base':
        return
    assert result['truth'] == pytest.approx(result['truth_fp32'], abs=2) and result['truth'] > 20
    stock = agreement.masks

    def inverted(model, sample, dtype):
        found, truth = stock(model, sample, 'fp32')
        return (~found if dtype == 'bf16' else found), truth

    monkeypatch.setattr(agreement, 'masks', inverted)
    assert agreement.run(args, args.device, lambda line: None)['bf16']['mean'] == 0
