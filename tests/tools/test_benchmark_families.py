"""tools/benchmark.py families, as far as it goes without the public implementations."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarks import families, zoo
from benchmarks.interleaved import Outcome

from tests.naming import assert_names

ARGS = Namespace(size=1024, models=['mobile_sam'], prompts=[1, 20], dtype=['fp32'], repeats=1, peers=None)


class Machine:
    """Stands for the environment, its processes and the time they take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
        self.code, self.measured, self.written = code, [], 0
        monkeypatch.setattr(families, 'environment', self.environment)
        monkeypatch.setattr(families, 'interleave', self.interleave)
        monkeypatch.setattr(families.subprocess, 'run', self.write_weights)

    @contextmanager
    def environment(self, folder: str | None, packages: Sequence[str], say: object) -> Iterator[Path]:
        yield Path('peers/python')

    def write_weights(self, command: list[str], **kwargs: object) -> SimpleNamespace:
        self.written += 1
        Path(command[-1]).touch()
        return SimpleNamespace(returncode=self.code, stderr='No module named transformers')

    def interleave(self, commands: dict, repeats: int, say: object, pythons: dict) -> dict[str, Outcome]:
        self.measured.append(commands['ours'][-5:-1])
        assert pythons == dict(stock='peers/python')
        return {who: Outcome([seconds], [seconds], 100, torch.ones(1)) for who, seconds in (('stock', 6), ('ours', 3))}


def test_finished_cases_are_shown_kept_and_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, machine = [], Machine(monkeypatch)
    args = Namespace(**vars(ARGS), save=str(tmp_path / 'cases.json'))
    results = families.run(args, torch.device('cpu'), said.append)
    assert machine.measured == [['mobile_sam', number, 'fp32', 'cpu'] for number in ('1', '20')]
    assert machine.written == 1  # weights serve all cases of a model
    assert [results[key]['speedup'] for key in ('mobile_sam, 1 box, fp32', 'mobile_sam, 20 boxes, fp32')] == [2, 2]
    assert json.loads((tmp_path / 'cases.json').read_text()) == results
    assert sum('2.00' in line for line in said) == 2
    args.prompts = [1, 4, 20]
    assert len(families.run(args, torch.device('cpu'), said.append)) == 3
    assert machine.measured[2:] == [['mobile_sam', '4', 'fp32', 'cpu']]


def test_a_public_implementation_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, code=1)
    with pytest.raises(RuntimeError) as caught:
        families.run(Namespace(**vars(ARGS), save=None), torch.device('cpu'), print)
    assert_names(str(caught.value), 'mobile_sam', 'No module named transformers')


def test_another_size_is_an_error() -> None:
    with pytest.raises(SystemExit) as stopped:
        families.run(Namespace(size=512), torch.device('cpu'), print)
    assert_names(str(stopped.value), '--size 512', '1024')


def test_a_model_without_a_public_implementation_to_compare_with() -> None:
    with pytest.raises(SystemExit) as stopped:
        families.run(Namespace(size=1024, models=['sam_tiny'], save=None), torch.device('cpu'), print)
    assert_names(str(stopped.value), 'sam_tiny', 'sam2.1_hiera_t')


def test_models_of_the_zoo_are_relative_to_sam_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the CPU time is half the speed; the mini SAM's work gives its masks."""
    seconds = dict(sam_vit_b=4, sam_vit_l=8, sam_tiny=0.5)
    monkeypatch.setattr(
        zoo, 'interleave', lambda commands, *_: {n: Outcome([9], [seconds[n]], 100, torch.ones(1)) for n in commands}
    )
    args = Namespace(models=['sam_tiny', 'sam_vit_l'], dtype=['fp32'], repeats=1, save=None)
    results = zoo.run(args, torch.device('cpu'), lambda line: None)
    assert {name: one['speed'] for name, one in results.items()} == {
        'sam_vit_b, fp32': 1, 'sam_tiny, fp32': 8, 'sam_vit_l, fp32': 0.5
    }  # fmt: skip
    assert zoo.prepare('sam_tiny', 'fp32', torch.device('cpu'))().shape == (1, 4, 96, 96)


def test_boxes_lie_in_the_image() -> None:
    boxes = families.example_boxes(20)
    assert boxes.shape == (20, 4) and (boxes[:, :2] < boxes[:, 2:]).all()
    assert boxes.min() >= 0 and boxes.max() <= families.SIZE
    assert set(families.MODEL_NAMES) <= set(families.MASKS)
