"""Measure ratios of time and peak memory against reference implementations, on a CPU or a GPU.

    python tools/benchmark.py [core | families | zoo | peers | agreement | cache | compile | data | spt | stable_sam |
        plm | scan | emeasure | everything] [--arch base] [--size 1024] [--repeats 5] [--prompts 1 4 20]
        [--stages encoder decoder end_to_end] [--dtype fp32 bf16] [--device auto] [--json FILE]

core: the image encoder, the mask decoder and both together against ``segment_anything``, with the same random weights.
peers: image to masks against ``segment_anything`` and Hugging Face's SamModel, and a LoRA training step against the
latter with peft, which are installed into a throw-away environment.
agreement: how well masks in bf16 agree with those in fp32, on magnetic tiles (--images of them).
cache: an epoch of Stable-SAM and of PLM with stored embeddings against one without.
compile: image to masks with ``torch.compile`` against without, and the time that compiling takes.
data: reading and preparing images for training, by parts and by number of processes, beside a training step.
spt: the self-draft decoder with VRA-Adapter and LoRA beside SAM's decoder, relative to the encoder's time.
stable_sam: what deformable sampling and dynamic routing add to the decoder, relative to the encoder's time.
plm: what PMM adds to a training step of the decoder, and PLM to its prediction.
scan: the selective scan of 64 x 64 tokens in 8 directions against a sequential loop.
emeasure: the E-measure of a map against its definition in NumPy, threshold by threshold.
families: SAM 2.1, MobileSAM and HQ-SAM, image to masks, against their public implementations (--models), which are
installed into a throw-away environment (--peers FOLDER keeps it); --save FILE keeps finished cases.
zoo: the published models (--models) beside SAM-B, image to masks of one box.
everything: segment everything with the mini SAM against ``segment_anything``'s generator (--size is that of the image).

In `core`, `families`, `peers`, `cache`, `scan`, `emeasure` and `everything` the references and this package run in
separate processes, so that each has its own peak memory, and their rounds alternate, so that other programs on the
machine slow all alike. The other benchmarks time their parts in turn in one process. Ratios of time are ratios of
medians; the spread is the range of the rounds. On a busy machine, set OMP_NUM_THREADS=1 (the time that threads wait for
each other depends on the other programs) and trust the ratio of CPU times more than the ratio of wall-clock times.
Prints progress, a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from types import ModuleType

import _bootstrap  # noqa: F401  (finds the package)
import torch

# isort: split
from benchmarks import (
    agreement,
    cache,
    compiled,
    core,
    data,
    emeasure,
    everything,
    families,
    peers,
    plm,
    scan,
    spt,
    stable_sam,
    training_memory,
    zoo,
)

from mmsam_ext.apis.model_names import NAMED_MODELS
from mmsam_ext.cli.choices import one_of
from mmsam_ext.cli.measuring import MEMORY_KIND, DeviceError, device_name, pick_device
from mmsam_ext.utils import check_output_file, replacing

#: Name -> module with ``run(args, device, say) -> results by case`` and ``table(results) -> str``. A new benchmark is a
#: line here.
BENCHMARKS: dict[str, ModuleType] = {
    'core': core,
    'peers': peers,
    'agreement': agreement,
    'cache': cache,
    'compile': compiled,
    'data': data,
    'spt': spt,
    'stable_sam': stable_sam,
    'plm': plm,
    'scan': scan,
    'emeasure': emeasure,
    'everything': everything,
    'families': families,
    'zoo': zoo,
}
#: Name -> module with ``contend(*arguments)``: what a separate process, started with --contender, does.
CONTENDERS: dict[str, ModuleType] = {
    'core': core,
    'peers': peers,
    'cache': cache,
    'scan': scan,
    'emeasure': emeasure,
    'everything': everything,
    'families': families,
    'zoo': zoo,
    'training_memory': training_memory,
}


def say(line: str) -> None:
    """Print progress."""
    print(line, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('benchmark', nargs='?', default='core', type=one_of(BENCHMARKS), help=', '.join(BENCHMARKS))
    parser.add_argument(
        '--arch', default='base', type=one_of(['tiny', *core.STOCK_ARCHS]), help='tiny, base, large, huge'
    )
    parser.add_argument('--size', type=int, default=1024, help='side of the square images, a multiple of 16')
    parser.add_argument('--images', type=int, default=1000, help='of agreement: evenly chosen, at most')
    parser.add_argument('--repeats', type=int, default=5, help='timed rounds')
    parser.add_argument('--prompts', type=int, nargs='+', default=[1, 4, 20], help='numbers of boxes on one image')
    parser.add_argument(
        '--stages', nargs='+', default=list(core.STAGES), type=one_of(core.STAGES), help='of core (default: all)'
    )
    parser.add_argument('--models', nargs='+', type=one_of(NAMED_MODELS), help='of families and zoo')
    parser.add_argument('--dtype', nargs='+', type=one_of(['fp32', 'bf16']), help='fp32 (default), bf16; on a GPU both')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, ...')
    parser.add_argument(
        '--peers', metavar='FOLDER', help='environment of the packages compared with, kept there (default: temporary)'
    )
    parser.add_argument(
        '--save', metavar='FILE', help='of families and zoo: keep finished cases here, and measure only the others'
    )
    parser.add_argument('--json', metavar='FILE', help='also write the JSON object to this file')
    parser.add_argument('--overwrite', action='store_true', help='replace the file of --json if it exists')
    args = parser.parse_args(arguments)
    if args.arch == 'tiny' and args.benchmark not in ('agreement', 'cache', 'data'):
        parser.error(f'--arch tiny: {args.benchmark} expects one of {sorted(core.STOCK_ARCHS)}')
    if args.size < 16 or args.size % 16:
        parser.error(f'--size {args.size}, expected a multiple of 16')
    if min(args.repeats, args.images, *args.prompts) < 1:
        parser.error(f'--repeats {args.repeats} --images {args.images} --prompts {args.prompts}, expected 1 or more')
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
    """Run the command line, or be one contender of it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ['--contender']:
        CONTENDERS[arguments[1]].contend(*arguments[2:])
        return 0
    args = parse(arguments)
    benchmark = BENCHMARKS[args.benchmark]
    results = benchmark.run(args, args.device, say)
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
    print(benchmark.table(results))
    print(f'Memory: {MEMORY_KIND[args.device.type]}.')
    line = json.dumps(report)
    if args.json:
        with replacing(args.json, args.overwrite) as temporary:
            temporary.write_text(line + '\n')
    print(line)
    return 0


if __name__ == '__main__':
    sys.exit(main())
