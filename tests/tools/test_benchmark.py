"""The benchmark: contenders alternate in processes of their own and compute the same; ratios are stock over ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import benchmark
import pytest
import torch
from benchmarks import core
from benchmarks.comparison import compare, table
from benchmarks.interleaved import Outcome, interleave
from torch import Tensor

from tests.naming import assert_names, error_line, raises_naming
from tests.numeric import MODEL, assert_close

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / 'tools' / 'benchmark.py'
#: A contender that notes each of its rounds, and holds `megabytes` while it works.
TOY = """
import sys, time
sys.path.insert(0, {tools!r})
import torch
import _bootstrap
from benchmarks.interleaved import serve

name, megabytes, seconds, log, output = sys.argv[1:]

def work():
    torch.ones(int(megabytes) * 2**18)
    time.sleep(float(seconds))
    with open(log, 'a') as file:
        file.write(name)
    if name == 'X':
        raise ValueError('no such weights')
    print('something a library prints')
    return torch.tensor([float(megabytes)])

serve(work, torch.device('cpu'), output)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    script = tmp_path / 'toy.py'
    script.write_text(TOY.format(tools=str(SCRIPT.parent)))
    return script


def test_contenders_alternate_and_are_measured_apart(toy: Path, tmp_path: Path) -> None:
    log = tmp_path / 'rounds'
    lines: list[str] = []
    commands = {
        'A': [str(toy), 'A', '400', '0.05', str(log)],
        'B': [str(toy), 'B', '1', '0.2', str(log)],
    }
    ballast = torch.ones(600 * 2**18)  # 600 MB in the parent, which must not be counted as a child's
    outcomes = interleave(commands, 3, lines.append)
    del ballast
    assert log.read_text()[2:] == 'ABABAB', 'after a warm-up of each'
    a, b = outcomes['A'], outcomes['B']
    assert len(a.seconds) == len(b.seconds) == len(a.cpu_seconds) == 3
    assert min(a.seconds) >= 0.05 and min(b.seconds) >= 0.2
    assert max(b.cpu_seconds) < 0.1, 'sleep takes no CPU time'
    assert 350 < a.peak_memory_mb - b.peak_memory_mb < 450
    assert 390 < a.extra_memory_mb < 450 and b.extra_memory_mb < 50, 'what came with the work'
    assert (a.output.tolist(), b.output.tolist()) == ([400.0], [1.0])
    assert [line.split(':')[0] for line in lines] == ['round 1 of 3', 'round 2 of 3', 'round 3 of 3']


def test_failing_contender_says_why(toy: Path, tmp_path: Path) -> None:
    commands = {'X': [str(toy), 'X', '1', '0', str(tmp_path / 'rounds')]}
    with raises_naming(RuntimeError, 'X', 'ready', 'no such weights'):
        interleave(commands, 1, print)


def test_compare_by_hand() -> None:
    stock = Outcome([4.0, 6.0, 10.0], [9.0, 1.0, 8.0], 3000.0, torch.tensor([1.0, -5.0]), 2500.0)
    ours = Outcome([2.0, 4.0, 2.5], [2.0, 3.0, 2.5], 1200.0, torch.tensor([1.0, -4.5]), 700.0)
    result = compare(stock, ours)
    assert result['stock_seconds'] == 6.0 and result['stock_spread'] == [4.0, 10.0]
    assert result['ours_seconds'] == 2.5 and result['ours_spread'] == [2.0, 4.0]
    assert result['speedup'] == 6.0 / 2.5
    assert result['speedup_spread'] == [1.5, 4.0], 'of the rounds: 4/2, 6/4, 10/2.5'
    assert result['cpu_time_speedup'] == 8.0 / 2.5
    assert result['memory_ratio'] == 0.4
    assert result['max_abs_diff'] == 0.5 and result['max_abs_output'] == 5.0
    row = table(dict(encoder_1_fp32=result)).splitlines()[1]
    expected = (
        'encoder_1_fp32 6.000 (4.000-10.000) 2.500 (2.000-4.000) 2.40 3.20 3000 (2500) 1200 (700) 0.40 5.0e-01 of 5'
    )
    assert ' '.join(row.split()) == expected
    with raises_naming(RuntimeError, '(2,)', 'stock', '(3,)', 'ours'):
        compare(stock, Outcome([1.0], [1.0], 1.0, torch.zeros(3)))


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp('benchmark') / 'weights.pth'
    core.save_weights('base', path)
    yield path
    path.unlink()


@pytest.mark.parametrize(
    ('stage', 'images', 'prompts', 'shape'),
    [
        ('encoder', 1, 0, (1, 256, 6, 6)),
        ('decoder', 2, 3, (6, 3, 24, 24)),
        ('end_to_end', 1, 2, (2, 96, 96)),
    ],
)
def test_contenders_compute_the_same(weights: Path, stage: str, images: int, prompts: int, shape: tuple) -> None:
    """Both compute the same at a size that neither is built for, and results depend on weights and inputs."""
    case = core.Case('stock', stage, images, prompts, 'base', 96, 'fp32', 'cpu', str(weights))
    stock: Tensor = core.prepare(case)()
    ours: Tensor = core.prepare(replace(case, contender='ours'))()
    assert stock.shape == ours.shape == shape
    assert stock.std() > 1e-3
    assert_close(ours, stock, MODEL)
    assert not ours.requires_grad


def test_weights_leave_no_position_code_at_zero(weights: Path) -> None:
    state = torch.load(weights, weights_only=True, mmap=True)
    for key in ('pos_embed', 'blocks.2.attn.rel_pos_h', 'blocks.0.attn.rel_pos_w'):
        assert state['image_encoder.' + key].std() > 0.01, key


def test_cases_of_core() -> None:
    args = benchmark.parse(['--device', 'cpu', '--prompts', '1', '20'])
    assert (args.benchmark, args.dtype, args.repeats) == ('core', ['fp32'], 5)
    cases = core.cases(args, 'fp32', args.device, 'w')
    names = [case.name for case in cases]
    assert names == ['encoder_1', 'decoder_1x1', 'decoder_1x20', 'decoder_8x4', 'end_to_end_1x4']
    only = core.cases(benchmark.parse(['--stages', 'encoder']), 'fp32', args.device, 'w')
    assert [case.name for case in only] == ['encoder_1']


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (['--size', '100'], ('--size', '100', '16')),
        (['--repeats', '0'], ('--repeats', '0')),
        (['--prompts', '0', '4'], ('--prompts', '0')),
        (['nonsense'], ('nonsense',)),
    ],
)
def test_bad_arguments(capsys: pytest.CaptureFixture, arguments: list[str], names: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(arguments)
    assert stopped.value.code == 2
    assert_names(error_line(capsys), *names)


@pytest.mark.slow
def test_command_line(tmp_path: Path) -> None:
    """Progress, a table, and the JSON line, in the file as well."""
    command = [sys.executable, str(SCRIPT), 'core', '--stages', 'encoder', '--size', '64', '--repeats', '2']
    command += ['--device', 'cpu', '--json', 'out.json']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'round 2 of 2' in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert (tmp_path / 'out.json').read_text().strip() == last
    report = json.loads(last)
    assert report['device'].startswith('cpu') and report['size'] == 64
    result = report['results']['encoder_1_fp32']
    assert result['max_abs_diff'] < MODEL * torch.finfo(torch.float32).eps * result['max_abs_output']
    assert result['speedup'] > 0 and 0 < result['memory_ratio'] < 3
