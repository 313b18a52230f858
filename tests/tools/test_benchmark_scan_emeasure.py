"""tools/benchmark.py scan and emeasure: contenders compute the same, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import emeasure, scan

from tests.evaluation.e_measure_golden import FILE, PLACES, case
from tests.numeric import OPERATION, assert_close

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
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


@pytest.mark.parametrize('index', [0, 1, 2, 3, 11, 14, 30, 100])
def test_e_measure_by_thresholds_and_by_histograms(index: int) -> None:
    """Empty and full targets, constant and stretched maps: both forms agree at all thresholds, as pysodmetrics."""
    pred, target = case(index)
    slow, fast = emeasure.by_thresholds(pred, target), emeasure.by_histograms(pred, target)
    assert_close(fast, slow, OPERATION)
    golden = json.loads(FILE.read_text())[index]
    curve = fast[:-1]
    ours = [curve.mean(), curve.max(), fast[-1], *curve[list(PLACES)]]
    assert_close(ours, golden[:3] + golden[4:], OPERATION)


@pytest.mark.parametrize('name', emeasure.CASES)
def test_emeasure_contenders_compute_the_same(name: str) -> None:
    stock, ours = (emeasure.prepare(contender, name, 48, CPU)() for contender in ('stock', 'ours'))
    assert stock.shape == ours.shape == (257,) and stock.std() > 1e-2
    assert_close(ours, stock, OPERATION)


def test_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory of both, by the names that the table has; one case each: a process takes seconds to start."""
    monkeypatch.setattr(emeasure, 'CASES', ('histograms',))
    monkeypatch.setattr(scan, 'PASSES', ('forward',))
    outcomes = emeasure.measure(1, 48, CPU, lambda line: None) | scan.measure(1, 64, CPU, lambda line: None)
    assert list(outcomes) == ['emeasure_histograms', 'scan_forward']
    for pair in outcomes.values():
        stock, ours = pair['stock'], pair['ours']
        assert len(stock.seconds) == len(ours.seconds) == 1 and min(stock.peak_memory_mb, ours.peak_memory_mb) > 50
        assert_close(ours.output, stock.output)
