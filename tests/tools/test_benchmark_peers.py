"""The comparisons with other packages, with the embedding cache and with torch.compile: their parts, made small."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks import cache, peer_environment, peers
from benchmarks.interleaved import Outcome
from benchmarks.peer_models import CONTENDERS, PRODUCT, TASKS, PeerCase

CASE = PeerCase('ours', 'inference', 2, 'base', 64, 'fp32', 'cpu')


def test_figures_are_the_right_way_up() -> None:
    def outcome(seconds: float, memory: float) -> Outcome:
        return Outcome([seconds, 9.0, seconds / 2], [seconds] * 3, memory, torch.zeros(1))

    flops = 2 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2]
    outcomes = dict(ours=outcome(4.0, 100), huggingface=outcome(8.0, 250), product=outcome(1.0, 50))
    result = peers.figures(outcomes, operations := 2 * flops)
    assert result['operations'] == operations and result['gflops'] == pytest.approx(flops / 1e9)
    assert result['huggingface']['time_ratio'] == 2 and result['huggingface']['memory_ratio'] == 2.5
    assert result['ours']['share_of_limit'] == 0.5 and result['huggingface']['share_of_limit'] == 0.25
    assert result['ours']['seconds'] == [4.0, 2.0, 9.0] and 'product' not in result
    text = peers.table(dict(inference_1_fp32=result))
    assert '2.50' in text and '25%' in text


def test_operations_of_vit_b() -> None:
    """ViT-B at 1024: 972 GFLOP for the encoder (counted by hand elsewhere), and a few for a prompt's decoder."""
    one = peers.operations(replace(CASE, size=1024, prompts=1))
    assert one == pytest.approx(972e9, rel=0.02)
    assert peers.operations(replace(CASE, size=1024, prompts=1, task='training')) == 2 * one


@pytest.mark.parametrize('task', TASKS)
def test_work_of_each_contender(task: str) -> None:
    """Masks of each box at the size of the input, or the loss of a step."""
    for name in TASKS[task]:
        if name == 'huggingface' and not all(map(importlib.util.find_spec, ('transformers', 'peft'))):
            continue
        torch.manual_seed(0)
        output = CONTENDERS[name](replace(CASE, contender=name, task=task))()
        if name != 'product':
            assert output.shape == ((2, 64, 64) if task == 'inference' else ()), name
            assert output.isfinite().all()


@pytest.mark.slow
def test_throw_away_environment_uses_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds PyTorch there, so that nothing is fetched; a package that does not exist is an error that names it."""
    monkeypatch.setattr(peer_environment, 'PACKAGES', ('torch',))
    python = peer_environment.make_environment(tmp_path / 'one', lambda line: None)
    place = subprocess.run([python, '-c', 'import torch; print(torch.__file__)'], capture_output=True, text=True)
    assert place.stdout.strip() == torch.__file__
    monkeypatch.setattr(peer_environment, 'PACKAGES', (str(tmp_path / 'nothing.whl'),))
    with pytest.raises(RuntimeError, match='nothing.whl'):
        peer_environment.make_environment(tmp_path / 'two', lambda line: None)


@pytest.mark.parametrize('method', cache.CONFIGS)
def test_epochs_with_and_without_cache_are_the_same(method: str, tmp_path: Path) -> None:
    settings = dict(method=method, arch='tiny', size=64, device='cpu', prompts=1)
    plain = cache.epoch(**settings, path=None)
    cached = cache.epoch(**settings, path=str(tmp_path))
    for _ in range(2):
        assert torch.equal(cached(), plain())
    assert len(list(tmp_path.rglob('*.safetensors'))) == cache.IMAGES
    assert json.dumps(settings)
