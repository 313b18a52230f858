"""This package against what people use today: what ``tools/benchmark.py peers`` runs.

Meta's ``segment_anything``, and Hugging Face's SamModel with peft in a throw-away environment. Each contender is a
process; rounds alternate. Each time is also given as a share of the machine's limit: the operations of the model, at
the rate of a product of matrices that is timed in the same rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmsam_ext.cli.table import text_table

from .interleaved import CONTENDER, Outcome, interleave, serve
from .peer_environment import PACKAGES, environment
from .peer_models import CONTENDERS, PRODUCT, TASKS, PeerCase, segment_anything


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Return '<task>_<prompts>_<dtype>' -> the figures of :func:`figures`."""
    results = {}
    with environment(args.peers, PACKAGES, say) as python:
        for dtype in args.dtype:
            for task, names in TASKS.items():
                for prompts in args.prompts if task == 'inference' else args.prompts[:1]:
                    case = PeerCase('', task, prompts, args.arch, args.size, dtype, str(device))
                    say(f'{task}, {prompts} prompts, {dtype} ...')
                    commands = {
                        name: [*CONTENDER, 'peers', json.dumps(asdict(replace(case, contender=name)))] for name in names
                    }
                    outcomes = interleave(commands, args.repeats, say, dict(huggingface=str(python)))
                    results[f'{task}_{prompts}_{dtype}'] = figures(outcomes, operations(case))
    return results


def contend(case: str, output: str) -> None:
    """Be one contender; `case` is a :class:`PeerCase` as JSON."""
    one = PeerCase(**json.loads(case))
    torch.manual_seed(0)
    serve(CONTENDERS[one.contender](one), torch.device(one.device), output)


def operations(case: PeerCase) -> int:
    """Count the floating-point operations of the task, as ``segment_anything`` does them.

    A training step with a frozen encoder needs the forward pass and the gradients of activations, twice as many.
    """
    with torch.device('meta'):
        work = segment_anything(replace(case, device='meta', dtype='fp32'))
        with FlopCounterMode(display=False) as counter:
            work()
    return counter.get_total_flops() * (2 if case.task == 'training' else 1)


def figures(outcomes: dict[str, Outcome], flops: int) -> dict:
    """Return medians, and ratios to this package.

    Returns:
        For each contender but the product: `seconds` (median, smallest, largest), `cpu_seconds` (median),
        `peak_memory_mb`, `share_of_limit` (from 0 to 1), `time_ratio` and `memory_ratio` (its figure over ours; more
        than 1 means that ours is better). `gflops` is the rate of the product.
    """
    rate = 2 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2] / statistics.median(outcomes['product'].seconds)
    mine = outcomes['ours']
    result: dict = dict(gflops=rate / 1e9, operations=flops)
    for name, outcome in outcomes.items():
        if name != 'product':
            median = statistics.median(outcome.seconds)
            result[name] = dict(
                seconds=[median, min(outcome.seconds), max(outcome.seconds)],
                cpu_seconds=statistics.median(outcome.cpu_seconds),
                peak_memory_mb=outcome.peak_memory_mb,
                share_of_limit=flops / rate / median,
                time_ratio=median / statistics.median(mine.seconds),
                cpu_time_ratio=statistics.median(outcome.cpu_seconds) / statistics.median(mine.cpu_seconds),
                memory_ratio=outcome.peak_memory_mb / mine.peak_memory_mb,
            )
    return result


def table(results: dict[str, dict]) -> str:
    """Return results as text, a row for each case and contender."""
    head = ('case', 'contender', 's (spread)', 'time / ours', 'CPU time / ours', 'MB', 'memory / ours', 'of the limit')
    rows = []
    for case, result in results.items():
        for name, values in result.items():
            if isinstance(values, dict):
                rows.append(
                    [
                        case,
                        name,
                        '{:.3f} ({:.3f}-{:.3f})'.format(*values['seconds']),
                        f'{values["time_ratio"]:.2f}',
                        f'{values["cpu_time_ratio"]:.2f}',
                        f'{values["peak_memory_mb"]:.0f}',
                        f'{values["memory_ratio"]:.2f}',
                        f'{values["share_of_limit"]:.0%}',
                    ]
                )
    return text_table(head, rows, left=1)
