"""Reproduce a paper's comparison on the test bed: the mini SAM, magnetic tiles (data/mtd) and procedural images.

    python tools/reproduce.py {spt,spt_options,stable_sam,stable_sam_more,hq_stable,ods_sam,plm} [--seeds 0 1 2]
        [--iters N] [--data mtd synthetic] [--only VARIANT ...] [--jobs N]
        [--work-dir work_dirs/reproduce] [--dry-run | --table | --speed [train]]

Trains and tests every variant on every data set with every seed, each with tools/train.py and tools/test.py in
separate processes, and writes means and spreads between the markers of configs/results/STUDY.md. You can interrupt it
and start it again at any time: finished runs are kept, unfinished ones start over. (A run whose config or mini SAM has
changed runs again; changed code is not noticed, so remove --work-dir after a change.) On MTD, models are trained on the
train split and reported on the val split, which is never used to choose anything.

--dry-run lists the runs. --table writes the table of the finished runs, with '-' for the others. --speed measures all
variants in turn in one process on the CPU and writes the table; --speed train prints the speed of a training step. The
studies are in tools/studies/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import _bootstrap  # noqa: F401  (finds the package)

import mmsam_ext  # noqa: F401  (before mmseg)
from mmsam_ext.cli.choices import one_of

# isort: split
from studies import STUDIES
from studies.running import Execute, execute, run_all
from studies.speed import SPEEDS, measure_speed
from studies.study import ROOT
from studies.table import check_markers, command, report, write_between

#: Each study has a page here, with its tables between two markers and findings written by hand below them.
RESULTS = ROOT / 'configs' / 'results'


def say(line: str) -> None:
    """Print progress."""
    print(line, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read and check the command line; `study` becomes the :class:`Study`, and `runs` its runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', type=one_of(STUDIES), help=', '.join(STUDIES))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='seeds of training (default: 0 1 2)')
    parser.add_argument('--iters', type=int, help="training steps instead of the study's; shares of it shrink alike")
    parser.add_argument('--data', nargs='+', help="run only on these data sets (default: all of the study's)")
    parser.add_argument('--only', nargs='+', metavar='VARIANT', help='run only these variants (--dry-run lists them)')
    parser.add_argument('--jobs', type=int, default=1, help='number of runs at a time, which share the processors')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/reproduce'), help='folder of all studies')
    parser.add_argument('--out', type=Path, help='Markdown file to write to (default: configs/results/STUDY.md)')
    parser.add_argument('--repeats', type=int, default=20, help='number of timed rounds of --speed')
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--dry-run', action='store_true', help='list the runs, and say which are finished')
    mode.add_argument('--table', action='store_true', help='write the table of the finished runs')
    mode.add_argument(
        '--speed',
        nargs='?',
        const='predict',
        type=one_of(SPEEDS),
        metavar='WHAT',
        help='measure relative speed, of `predict` (default; for the table) or of a training step',
    )
    args = parser.parse_args(arguments)
    if args.iters is not None and args.iters < 1 or args.repeats < 1 or args.jobs < 1:
        parser.error(f'--iters {args.iters} --repeats {args.repeats} --jobs {args.jobs}, expected 1 or more')
    if len(set(args.seeds)) < len(args.seeds) or min(args.seeds) < 0:
        parser.error(f'--seeds {args.seeds}, expected each seed once, 0 or more')
    if args.speed == 'predict' and args.only:
        parser.error('--only cannot be combined with --speed: the table needs the speeds of all variants')
    args.study = STUDIES[args.study]
    args.work_dir = args.work_dir.resolve()
    args.out = args.out or RESULTS / f'{args.study.name}.md'
    try:
        check_markers(args.out, args.study.name)  # before hours of work
        args.runs = args.study.runs(args.seeds, args.iters, args.data, args.only)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return args


def main(arguments: Sequence[str] | None = None, execute: Execute = execute) -> int:
    """Run the command line; returns the exit code, 1 if a run failed."""
    args = parse(arguments)
    study, work_dir = args.study, args.work_dir
    if args.dry_run:
        for run in args.runs:
            say(f'{"finished" if run.result(work_dir) else "to run":<9} {run}')
        say(f'{len(args.runs)} runs')
        return 0
    speed_file = work_dir / study.name / 'predict.json'
    if args.speed:
        runs = [
            run for run in args.runs if run.seed == args.seeds[0] and (run.variant.trained or args.speed != 'train')
        ]
        measured = measure_speed(runs, args.speed, args.repeats, say)
        path = speed_file.with_stem(args.speed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=1))
        say(json.dumps(measured, indent=1))
    write = args.table or args.speed
    try:
        if args.jobs > 1:
            os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
        failed = [] if write else run_all(args.runs, work_dir, execute, say, args.jobs)
    except KeyboardInterrupt:
        say('interrupted; run the same command again to continue with the unfinished runs')
        return 130
    speeds = json.loads(speed_file.read_text())['relative'] if speed_file.is_file() else {}
    everything = study.runs(args.seeds, args.iters)
    line = command(study, args.seeds, args.iters)
    text = report(study, everything, work_dir, line, speeds)
    write_between(args.out, study.name, text)
    say(text)
    for failure in failed:
        say(f'FAILED {failure.splitlines()[0]}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
