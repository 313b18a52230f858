"""Our code against what it stands in for, in one run: ratios of time and of peak memory, on a CPU or a GPU.

Usage: python tools/benchmark.py [core | spt | stable_sam | plm | scan | emeasure] [--arch base] [--size 1024]
           [--repeats 5] [--prompts 1 4 20] [--stages encoder decoder end_to_end] [--dtype fp32 bf16] [--device auto]
           [--json FILE]

core: image encoder, mask decoder and both together against ``segment_anything``'s, with the same random weights.
spt: the self-draft decoder with VRA-Adapter and LoRA beside SAM's decoder, over the encoder's time (one process).
stable_sam: what deformable sampling and dynamic routing add to the decoder, over the encoder's time (one process).
plm: what PMM adds to a training step of the decoder, and PLM to its prediction (one process).
scan: the selective scan of 64 x 64 tokens in 8 directions against a sequential loop ('stock').
emeasure: the E-measure of a map against NumPy ('stock'): by pysodmetrics' steps, which are written out because that
    package is never installed here (it downgrades NumPy and OpenCV), and by the definition, threshold by threshold.

Every contender and stage has a process of its own, so that its peak memory is its own; rounds alternate between the
contenders, so that whatever else the machine does slows both. Ratios of time are those of medians, spread is the range
of the rounds. On a busy machine run with OMP_NUM_THREADS=1 (threads that wait for each other tell of the others), and
trust the ratio of CPU time before that of the clock. Prints progress, a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import _bootstrap  # noqa: F401  (finds the package)
import torch

# isort: split
from benchmarks import core as core_benchmark
from benchmarks import emeasure as emeasure_benchmark
from benchmarks import plm as plm_benchmark
from benchmarks import scan as scan_benchmark
from benchmarks import spt as spt_benchmark
from benchmarks import stable_sam as stable_sam_benchmark
from benchmarks import training_memory
from benchmarks.core import STOCK_ARCHS, Case, save_weights
from benchmarks.interleaved import CONTENDER, Outcome, interleave

from mmsam_ext.cli.measuring import MEMORY_KIND, DeviceError, device_name, pick_device
from mmsam_ext.utils import check_output_file, replacing

STAGES = ('encoder', 'decoder', 'end_to_end')
#: The batch whose prompts we decode in one call, and stock SAM in a loop over images.
BATCH = dict(images=8, prompts=4)


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def core_cases(args: argparse.Namespace, dtype: str, device: torch.device, weights: str) -> list[Case]:
    """The stages to compare, each with 'stock' as the contender."""
    one = Case('stock', '', 1, 0, args.arch, args.size, dtype, str(device), weights)
    cases = []
    if 'encoder' in args.stages:
        cases.append(replace(one, stage='encoder'))
    if 'decoder' in args.stages:
        cases += [replace(one, stage='decoder', prompts=number) for number in args.prompts]
        cases.append(replace(one, stage='decoder', **BATCH))
    if 'end_to_end' in args.stages:
        cases.append(replace(one, stage='end_to_end', prompts=BATCH['prompts']))
    return cases


def core(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """``segment_anything`` against this package: case -> :func:`compare`."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / 'weights.pth'
        save_weights(args.arch, weights)
        for dtype in args.dtype:
            for case in core_cases(args, dtype, device, str(weights)):
                say(f'{dtype} {case.name} ...')
                commands = {
                    name: [*CONTENDER, 'core', json.dumps(asdict(replace(case, contender=name)))]
                    for name in ('stock', 'ours')
                }
                outcomes = interleave(commands, args.repeats, say)
                results[f'{case.name}_{dtype}'] = compare(outcomes['stock'], outcomes['ours'])
    return results


def spt(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """SPT beside zero-shot SAM, by parts: dtype -> times and ratios."""
    return spt_benchmark.spt(args, device, say)


def stable_sam(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """Stable-SAM's plugins, by parts: dtype -> times and ratios."""
    return stable_sam_benchmark.stable_sam(args, device, say)


def plm(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """PLM and PMM, by parts: dtype -> times and ratios."""
    return plm_benchmark.plm(args, device, say)


def scan(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """The selective scan against a sequential loop: pass -> :func:`compare`."""
    return compare_all(scan_benchmark.measure(args.repeats, args.size, device, say))


def emeasure(args: argparse.Namespace, device: torch.device) -> dict[str, dict]:
    """The E-measure against NumPy: case -> :func:`compare`."""
    return compare_all(emeasure_benchmark.measure(args.repeats, args.size, device, say))


#: Name on the command line -> (arguments, device) -> results by case. Further benchmarks go here.
BENCHMARKS: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, dict]]] = {
    'core': core,
    'spt': spt,
    'stable_sam': stable_sam,
    'plm': plm,
    'scan': scan,
    'emeasure': emeasure,
}
#: Benchmark -> what a process of its own, started with --contender, does.
CONTENDERS: dict[str, Callable[..., None]] = {
    'core': core_benchmark.contend,
    'scan': scan_benchmark.contend,
    'emeasure': emeasure_benchmark.contend,
    'training_memory': training_memory.contend,
}
#: Tables of benchmarks whose results are no comparisons of two contenders.
TABLES: dict[str, Callable[[dict[str, dict]], str]] = {
    'spt': spt_benchmark.table,
    'stable_sam': stable_sam_benchmark.table,
    'plm': plm_benchmark.table,
}


def compare(stock: Outcome, ours: Outcome) -> dict:
    """Ratios of two outcomes.

    Returns:
        `speedup` and `cpu_time_speedup`: stock's time over ours; `memory_ratio`: our peak over stock's; extra memory:
        the peak less what was held before the work; and more.

    Raises:
        RuntimeError: outputs of different shapes.
    """
    if stock.output.shape != ours.output.shape:
        raise RuntimeError(f'outputs of {tuple(stock.output.shape)} (stock) and {tuple(ours.output.shape)} (ours)')
    rounds = [theirs / mine for theirs, mine in zip(stock.seconds, ours.seconds, strict=True)]
    seconds = {name: statistics.median(outcome.seconds) for name, outcome in (('stock', stock), ('ours', ours))}
    return dict(
        stock_seconds=seconds['stock'],
        stock_spread=[min(stock.seconds), max(stock.seconds)],
        ours_seconds=seconds['ours'],
        ours_spread=[min(ours.seconds), max(ours.seconds)],
        speedup=seconds['stock'] / seconds['ours'],
        speedup_spread=[min(rounds), max(rounds)],
        cpu_time_speedup=statistics.median(stock.cpu_seconds) / statistics.median(ours.cpu_seconds),
        stock_peak_memory_mb=stock.peak_memory_mb,
        ours_peak_memory_mb=ours.peak_memory_mb,
        stock_extra_memory_mb=stock.extra_memory_mb,
        ours_extra_memory_mb=ours.extra_memory_mb,
        memory_ratio=ours.peak_memory_mb / stock.peak_memory_mb,
        max_abs_diff=float((stock.output - ours.output).abs().max()),
        max_abs_output=float(stock.output.abs().max()),
    )


def compare_all(outcomes: dict[str, dict[str, Outcome]]) -> dict[str, dict]:
    """Case -> :func:`compare` of its 'stock' and 'ours'."""
    return {name: compare(pair['stock'], pair['ours']) for name, pair in outcomes.items()}


def table(results: dict[str, dict]) -> str:
    """The results for people."""
    head = ('case', 'stock s (spread)', 'ours s (spread)', 'times as fast')
    head += ('by CPU time', 'stock MB (extra)', 'ours MB (extra)', 'memory', 'max diff')
    rows = [head]
    for name, r in results.items():
        rows.append(
            (
                name,
                *(
                    '{:.3f} ({:.3f}-{:.3f})'.format(r[f'{who}_seconds'], *r[f'{who}_spread'])
                    for who in ('stock', 'ours')
                ),
                f'{r["speedup"]:.2f}',
                f'{r["cpu_time_speedup"]:.2f}',
                *(f'{r[f"{who}_peak_memory_mb"]:.0f} ({r[f"{who}_extra_memory_mb"]:.0f})' for who in ('stock', 'ours')),
                f'{r["memory_ratio"]:.2f}',
                f'{r["max_abs_diff"]:.1e} of {r["max_abs_output"]:.2g}',
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return '\n'.join('  '.join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('benchmark', nargs='?', default='core', choices=sorted(BENCHMARKS))
    parser.add_argument('--arch', default='base', choices=sorted(STOCK_ARCHS))
    parser.add_argument('--size', type=int, default=1024, help='side of the square images, a multiple of 16')
    parser.add_argument('--repeats', type=int, default=5, help='timed rounds')
    parser.add_argument('--prompts', type=int, nargs='+', default=[1, 4, 20], help='boxes of the one image to decode')
    parser.add_argument('--stages', nargs='+', default=list(STAGES), choices=STAGES, help='all by default')
    parser.add_argument('--dtype', nargs='+', choices=['fp32', 'bf16'], help='default: fp32, on a GPU both')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    parser.add_argument('--json', metavar='FILE', help='write the JSON object to a file, too')
    parser.add_argument('--overwrite', action='store_true', help='replace the file of --json if it exists')
    args = parser.parse_args(arguments)
    if args.size < 16 or args.size % 16:
        parser.error(f'--size {args.size}, expected a multiple of 16')
    if min(args.repeats, *args.prompts) < 1:
        parser.error(f'--repeats {args.repeats} --prompts {args.prompts}, expected 1 or more')
    try:
        if args.json:
            check_output_file(args.json, overwrite=args.overwrite)
    except OSError as error:
        parser.error(str(error))
    try:
        args.device = pick_device(args.device)
    except DeviceError as error:
        parser.error(str(error))
    args.dtype = args.dtype or (['fp32', 'bf16'] if args.device.type == 'cuda' else ['fp32'])
    return args


def main(arguments: list[str] | None = None) -> int:
    """The command line, or one contender of it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ['--contender']:
        CONTENDERS[arguments[1]](*arguments[2:])
        return 0
    args = parse(arguments)
    results = BENCHMARKS[args.benchmark](args, args.device)
    report = dict(
        benchmark=args.benchmark,
        arch=args.arch,
        size=args.size,
        repeats=args.repeats,
        device=device_name(args.device),
        torch=torch.__version__,
        peak_memory_kind=MEMORY_KIND[args.device.type],
        results=results,
    )
    print(TABLES.get(args.benchmark, table)(results))
    print(f'Memory: {MEMORY_KIND[args.device.type]}.')
    line = json.dumps(report)
    if args.json:
        with replacing(args.json, args.overwrite) as temporary:
            temporary.write_text(line + '\n')
    print(line)
    return 0


if __name__ == '__main__':
    sys.exit(main())
