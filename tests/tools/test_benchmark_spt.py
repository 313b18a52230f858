"""``tools/benchmark.py spt``: its parts run, the relation is computed once per image, and ratios are correct."""

from __future__ import annotations

import pytest
import torch
from benchmarks import by_parts
from benchmarks import spt as benchmark_spt

from mmsam_ext.models.mask_decoders.plugins import visual_relation_adapter


def test_ratios() -> None:
    seconds = {
        'encoder': 10.0, 'qkv': 0.5, 'qkv + LoRA': 0.6, 'relation': 0.1, 'SAM decoder 1': 2.0, 'SPT decoder 1': 4.0
    }  # fmt: skip
    assert benchmark_spt.ratios(seconds, blocks=10, prompts=[1]) == pytest.approx({
        'LoRA in the encoder / encoder': 0.1,
        'SPT / SAM decoder, 1 prompts': 2,
        'speed of SPT / SAM, 1 prompts': 12 / 15,
        'speed of SPT / SAM, 1 prompts, LoRA merged in the encoder': 12 / 14,
    })  # fmt: skip


def test_parts_in_turn_and_the_first_round_does_not_count() -> None:
    done: list[str] = []
    works = {name: lambda name=name: done.append(name) for name in 'ab'}
    seconds, cpu = by_parts.time_parts(works, 2, torch.device('cpu'), lambda line: None)
    assert ''.join(done) == 'ababab'
    assert [len(values) for values in (*seconds.values(), *cpu.values())] == [2] * 4


def test_parts_of_spt(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    stock = visual_relation_adapter.visual_relation
    monkeypatch.setattr(visual_relation_adapter, 'visual_relation', lambda *args: calls.append(1) or stock(*args))
    works, blocks = benchmark_spt.parts('tiny', 64, [1, 5], torch.device('cpu'), 'fp32')
    assert blocks == 8
    shapes = {name: tuple(work().shape) for name, work in works.items() if 'decoder' in name}
    assert shapes == {f'{name} decoder {number}': (number, 4, 16, 16) for number in (1, 5) for name in ('SAM', 'SPT')}
    assert len(calls) == 2  # one an image, whatever the number of prompts, decoders and blocks
    results = {
        'fp32': dict(
            seconds=dict(encoder=1.0),
            ratios=dict(a=2.0),
            cpu_seconds=dict(encoder=3.0),
            cpu_ratios=dict(a=4.0),
            memory=dict(b=5.0),
        )
    }
    rows = [line.split()[1:] for line in benchmark_spt.table(results).splitlines()[1:]]
    assert rows == [['1.0000', '3.0000'], ['2.0000', '4.0000'], ['5.0000']]


def test_training_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """LoRA and SPT train in processes of their own, and the memory ratios are SPT over LoRA."""
    memory = benchmark_spt.training_memory('tiny', 64, [1], torch.device('cpu'), 'fp32')
    assert 0.9 < memory['training memory of SPT / LoRA, 1 prompts'] < 1.2
    answers = {'LoRA': dict(peak_mb=100.0, extra_mb=50.0), 'SPT': dict(peak_mb=110.0, extra_mb=60.0)}
    monkeypatch.setattr(benchmark_spt, 'run_child', lambda command: answers[command[4]])
    memory = benchmark_spt.training_memory('base', 1024, [4], torch.device('cpu'), 'fp32')
    assert list(memory.values()) == pytest.approx([100.0, 110.0, 1.1, 1.2])
