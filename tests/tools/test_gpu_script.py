"""tools/benchmarks/gpu.sh with a Python that only pretends: which parts run, and what becomes of their reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.gpu_table import markdown

from tests.naming import assert_names

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks' / 'gpu.sh'
#: Says that there is a GPU, notes the benchmarks, and fails one of them.
PRETENDER = """#!/usr/bin/env bash
case $1 in
    -c) exit {no_gpu} ;;
    -) echo 'a GPU, 80 GiB' ;;
    *gpu_table.py) exec {python} "$@" ;;
    *benchmark.py)
        echo "$2 $*" >>"{log}"
        [[ $2 == spt ]] && {{ echo 'out of memory' >&2; exit 1; }}
        while [[ $1 != --json ]]; do shift; done
        echo '{report}' >"$2"
        ;;
esac
"""
REPORT = dict(results=dict(encoder_1_fp32=dict(speedup=2.5, memory_ratio=0.4, max_abs_diff=1e-5)))


@pytest.fixture
def run(tmp_path: Path):
    def call(*arguments: str, no_gpu: int = 0, **variables: str) -> subprocess.CompletedProcess:
        python = tmp_path / 'python'
        text = PRETENDER.format(no_gpu=no_gpu, python=sys.executable, log=tmp_path / 'log', report=json.dumps(REPORT))
        python.write_text(text)
        python.chmod(0o755)
        environment = os.environ | dict(PYTHON=str(python), **variables)
        return subprocess.run(
            [SCRIPT, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment
        )

    return call


def test_a_part_that_fails_does_not_stop_the_others(run, tmp_path: Path) -> None:
    done = run(str(tmp_path / 'out'), 'large', SKIP='mamba plm', PROMPTS='1 7', REPEATS='3')
    assert done.returncode == 1, done.stderr
    assert_names(done.stderr, 'spt', 'out of memory')
    started = [line.split() for line in (tmp_path / 'log').read_text().splitlines()]
    assert [words[0] for words in started] == ['core', 'peers', 'spt', 'stable_sam', 'scan', 'cache', 'compile']
    assert all(words[words.index('--repeats') + 1] == '3' for words in started)
    assert started[0][started[0].index('--prompts') + 1 :] == ['1', '7'] and 'large' in started[0]
    table = (tmp_path / 'out' / 'table.md').read_text()
    assert table.startswith('a GPU, 80 GiB') and '| core | encoder_1_fp32 | times as fast | 2.5 |' in table
    assert 'Failed: spt (see spt.log).' in table and '| spt |' not in table


def test_without_a_gpu_and_with_an_unknown_architecture(run, tmp_path: Path) -> None:
    for done, names in ((run(str(tmp_path / 'out'), no_gpu=1), ('GPU',)), (run('out', 'small'), ('ARCH', 'small'))):
        assert done.returncode == 2
        assert_names(done.stderr, *names)
    assert not (tmp_path / 'log').exists() and not (tmp_path / 'out').exists()


def test_table_of_peers_and_ratios(tmp_path: Path) -> None:
    values = dict(seconds=[2.0, 1.0, 3.0], time_ratio=1.4, memory_ratio=2.0, share_of_limit=0.5)
    peers = dict(results=dict(inference_1_fp32=dict(gflops=100.0, huggingface=values)))
    (tmp_path / 'peers.json').write_text(json.dumps(peers))
    (tmp_path / 'plm.json').write_text(json.dumps(dict(results=dict(fp32=dict(ratios=dict(plm_1=1.17))))))
    table = markdown(tmp_path, ['core'])
    assert '| peers | inference_1_fp32, huggingface | time, theirs over ours | 1.4 |' in table
    assert '| plm | fp32 | plm_1 | 1.17 |' in table and 'Failed: core' in table
