"""tools/benchmark.py scan and emeasure: contenders compute the same, in separate processes."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from benchmarks import emeasure, scan

from tests.evaluation.e_measure_golden import FILE, PLACES, case
from tests.numeric import OPERATION, assert_close

CPU = torch.device('cpu')


def test_the_loop_is_the_recurrence() -> None:
    """Step by step, number by number, in two directions of three steps."""
    random = np.random.RandomState(0)
    u, delta = random.randn(1, 2, 3, 2), random.rand(1, 2, 3, 2)
    a, b, c = -random.rand(2, 2, 4), random.randn(1, 2, 3, 4), random.randn(1, 2, 3, 4)
    expected = np.zeros_like(u)
    for group, channel, state in np.ndindex(2, 2, 4):
        h = 0.0
        for t in range(3):
            at = (0, group, t)
            h = np.exp(delta[at][channel] * a[group, channel, state]) * h
            h += delta[at][channel] * b[at][state] * u[at][channel]
            expected[at][channel] += c[at][state] * h
    ours = scan.sequential(*(torch.from_numpy(value) for value in (u, delta, a, b, c)))
    assert_close(ours.numpy(), expected, OPERATION)


@pytest.mark.parametrize('what', scan.PASSES)
def test_scan_contenders_compute_the_same(what: str) -> None:
    stock, ours = (scan.prepare(contender, what, 64, CPU)() for contender in ('stock', 'ours'))
    assert stock.shape == ours.shape == (1, 8, 16, 256) and stock.std() > 1e-2
    assert_close(ours, stock)


#: The golden file's digits, and sums over hundreds of cells whose terms cancel.
TOLERANCE = 1e-9


@pytest.mark.parametrize('index', [0, 1, 2, 3, 11, 14, 30, 100])
def test_the_definition_gives_pysodmetrics_values(index: int) -> None:
    """Empty and full targets, constant and stretched maps: mean, maximum, adaptive and single thresholds."""
    pred, target = case(index)
    golden = json.loads(FILE.read_text())[index]
    *curve, adaptive = emeasure.by_definition(pred, target)
    ours = [np.mean(curve), np.max(curve), adaptive, *np.array(curve)[list(PLACES)]]
    np.testing.assert_allclose(ours, golden[:3] + golden[4:], rtol=0, atol=TOLERANCE)


def test_emeasure_contenders_compute_the_same() -> None:
    stock, ours = (emeasure.prepare(contender, 48, CPU)() for contender in ('stock', 'ours'))
    assert stock.shape == ours.shape == (257,) and stock.std() > 1e-2
    torch.testing.assert_close(ours, stock, rtol=0, atol=TOLERANCE)


def test_in_separate_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory of both, by the names that the table has; one case each: a process takes seconds to start."""
    monkeypatch.setattr(scan, 'PASSES', ('forward',))
    results = {}
    for benchmark, size in ((emeasure, 48), (scan, 64)):
        args = Namespace(repeats=1, size=size)
        results |= benchmark.run(args, CPU, lambda line: None)
    assert list(results) == ['emeasure', 'scan_forward']
    for result in results.values():
        assert min(result['stock_seconds'], result['ours_seconds']) > 0
        assert min(result['stock_peak_memory_mb'], result['ours_peak_memory_mb']) > 50
        assert result['max_abs_diff'] <= 1e-5 * result['max_abs_output']
