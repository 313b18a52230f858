"""tools/benchmark.py plm: what is timed is what its name says, and ratios are added time over base time."""

from __future__ import annotations

from pathlib import Path

import benchmarks.plm as benchmark_plm
import pytest
import torch

from mmsam_ext.models.auxiliary_heads import PointMatchingModule
from mmsam_ext.models.prompt_stages import PromptLearningModule

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def test_works_run_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for module, method in ((PromptLearningModule, 'forward'), (PointMatchingModule, 'refine')):
        stock = getattr(module, method)
        monkeypatch.setattr(
            module, method, lambda *args, name=module.__name__, stock=stock: called.append(name) or stock(*args)
        )
    works = benchmark_plm.parts(64, [1, 2], torch.device('cpu'), 'fp32')
    expected = {
        'plm_step': ['PromptLearningModule'],
        'plm_pmm_step': ['PromptLearningModule', 'PointMatchingModule'],
        'sam_predict': [],
        'plm_predict': ['PromptLearningModule'],
    }
    assert set(works) == {f'{name}_{number}' for name in expected for number in (1, 2)}
    for name, work in works.items():
        called.clear()
        work()
        assert called == expected[name.rsplit('_', 1)[0]], name


def test_ratios_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {'plm_step_1': [2.0], 'plm_pmm_step_1': [2.5], 'sam_predict_1': [1.0], 'plm_predict_1': [1.1]}
    cpu = {name: [2 * value[0]] for name, value in seconds.items()} | {'plm_pmm_step_1': [6.0]}
    monkeypatch.setattr(benchmark_plm, 'parts', lambda *args: {})
    monkeypatch.setattr(benchmark_plm, 'time_parts', lambda *args: (seconds, cpu))
    args = type('Arguments', (), dict(size=64, prompts=[1], repeats=1, dtype=['fp32']))
    results = benchmark_plm.run(args, torch.device('cpu'), print)
    assert results['fp32']['ratios'] == {'pmm_adds_to_step_1': [1.25, 1.5], 'plm_adds_to_prediction_1': [1.1, 1.1]}
    assert benchmark_plm.table(results).splitlines()[-2].split() == ['pmm_adds_to_step_1', '1.250', '1.500']
