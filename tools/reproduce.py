"""Reproduces a paper's comparison on the test bed: the mini SAM, magnetic tiles (data/mtd), procedural images.

Usage: python tools/reproduce.py {spt,stable_sam,ods_sam,plm} [--seeds 0 1 2] [--iters N] [--data mtd synthetic]
           [--only VARIANT ...] [--jobs N] [--work-dir work_dirs/reproduce] [--dry-run | --table | --speed [train]]

Trains and tests every variant on every data set with every seed, each with tools/train.py and tools/test.py in
processes of their own, and writes means and spreads between the markers of configs/results/STUDY.md. You can interrupt
it and start it again at any time: finished runs are kept, unfinished ones start over. (A run whose config or mini SAM
has changed runs again; changed code is not noticed: remove --work-dir.) On MTD, models are trained on the train split
and reported on the val split, which is never used to choose anything.

--dry-run lists the runs. --table only writes the table of those that are there, absent ones as '-'. --speed measures
all variants in turn in one process, on the CPU, and writes the table; --speed train prints that of a training step.
The studies are tools/studies/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import _bootstrap  # noqa: F401  (finds the package)

import mmsam_ext  # noqa: F401  (before mmseg)

# isort: split
import torch
from benchmarks.by_parts import medians, time_parts
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from studies import STUDIES
from studies.study import Run, RunError
from studies.table import command, report, write_between

from mmsam_ext.cli import model_cost
from mmsam_ext.cli.measuring import device_name

TOOLS = Path(__file__).resolve().parent
#: Each study has a page here, with its tables between two markers and findings written by hand below them.
RESULTS = TOOLS.parent / 'configs' / 'results'
#: (run, its empty folder) -> its result, see :meth:`Run.result`.
Execute = Callable[[Run, Path], dict]


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


# ---------------------------------------------------------------- one run


def execute(run: Run, folder: Path) -> dict:
    """Count, train where it is trained, test.

    Raises:
        RunError: the model cannot be counted, or one of the tools failed.
    """
    config, seconds, costs = folder / 'config.py', {}, cost(run.config)
    run.config.dump(config)
    weights = run.study.weights
    if run.variant.trained:
        seconds['train'] = call(folder / 'train.log', 'train.py', config, '--work-dir', folder / 'train')
        weights = folder / 'train' / f'iter_{run.iterations}.pth'
    seconds['test'] = call(folder / 'test.log', 'test.py', config, weights, '--work-dir', folder / 'test')
    (path,) = (folder / 'test').glob('*/*.json')
    return dict(metrics=json.loads(path.read_text()), cost=costs, seconds=seconds)


def call(log: Path, tool: str, *arguments: object) -> float:
    """Run one of our tools from the repository's root, where data/ is -> seconds.

    Raises:
        RunError: it failed.
    """
    start = time.perf_counter()
    with log.open('w') as file:
        line = [sys.executable, TOOLS / tool, *arguments]
        done = subprocess.run([str(part) for part in line], stdout=file, stderr=subprocess.STDOUT, cwd=TOOLS.parent)
    if done.returncode:
        raise RunError(f'{tool} failed ({done.returncode}), {log}:\n{log.read_text()[-2000:]}')
    return time.perf_counter() - start


def cost(config: Config) -> dict[str, int]:
    """Parameters that a model trains, its operations, and those of its modules that train something.

    Raises:
        RunError: the config does not say the input size.
    """
    init_default_scope('mmseg')
    try:
        result = model_cost.cost(config)
    except model_cost.ConfigError as error:
        raise RunError(str(error)) from error
    frozen = [name for name, number in result['params_trainable_by_module'].items() if not number]
    by_module = result['flops_by_module']
    return dict(
        trained=result['params_trainable'],
        flops=result['flops'],
        flops_trained=result['flops'] - sum(by_module.get(name, 0) for name in frozen),
    )


# ---------------------------------------------------------------- all runs


def run_all(
    runs: Sequence[Run], work_dir: Path, execute: Execute, progress: Callable[[str], None] = say, jobs: int = 1
) -> list[str]:
    """Run what is not finished, `jobs` at a time; one that fails is told, and does not stop the others.

    Returns:
        What failed.
    """
    finished = {run: result for run in runs if (result := run.result(work_dir)) is not None}
    progress(f'{len(finished)} of {len(runs)} runs are finished')
    times = {run: sum(result['seconds'].values()) for run, result in finished.items()}
    rest = [run for run in runs if run not in finished]
    numbers = {run: len(finished) + index + 1 for index, run in enumerate(rest)}
    under_way: dict[Future, Run] = {}
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        while rest or under_way:
            while rest and len(under_way) < jobs:
                run = rest.pop(0)
                progress(f'[{numbers[run]}/{len(runs)}] {run} ...')
                under_way[pool.submit(run_one, run, run.folder(work_dir), execute)] = run
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                run = under_way.pop(future)
                try:
                    times[run] = future.result()
                except RunError as error:
                    failed.append(f'{run}: {error}')
                    progress(failed[-1])
                    continue
                left = clock(remaining(times, [*rest, *under_way.values()]) / jobs)
                progress(f'[{numbers[run]}/{len(runs)}] {run}: {clock(times[run])}; left: about {left}')
    return failed


def run_one(run: Run, folder: Path, execute: Execute) -> float:
    """Run it in its folder, empty before, and leave the result there -> seconds.

    Raises:
        RunError: it failed, or the packaged weights were replaced meanwhile.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
    folder.mkdir(parents=True)
    run.check_unchanged()
    result = execute(run, folder)
    run.check_unchanged()
    partial = folder / '.result.json.partial'
    partial.write_text(json.dumps(result, indent=1))
    partial.rename(folder / 'result.json')
    return sum(result['seconds'].values())


def remaining(times: dict[Run, float], runs: Sequence[Run]) -> float:
    """Seconds that `runs` will take, judged by `times` of runs on the same data with as many steps, or else of all."""

    def estimate(run: Run) -> float:
        like = [value for other, value in times.items() if _kind(other) == _kind(run)]
        return statistics.fmean(like or times.values())

    return sum(map(estimate, runs))


def _kind(run: Run) -> tuple:
    return run.data, run.variant.trained, run.iterations


def clock(seconds: float) -> str:
    """'1 h 05 min', '3 min', '12 s'."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f'{minutes // 60} h {minutes % 60:02d} min'
    return f'{minutes} min' if seconds >= 60 else f'{seconds:.0f} s'


# ---------------------------------------------------------------- speed


def measure_speed(runs: Sequence[Run], what: str, repeats: int, progress: Callable[[str], None] = say) -> dict:
    """CPU time of `predict` (an image and a box) or of a training step (a batch), relative to the first variant's.

    Weights are random; variants whose models are made of the same are measured once. Not by the clock, which other
    programs disturb more.

    Args:
        runs: Of one seed; for training, of variants that are trained.
        what: One of SPEEDS.
        repeats: Timed rounds.

    Returns:
        `relative` (times as fast as the first) and `cpu_seconds`: data -> variant -> number; `device`, `repeats`.
    """
    init_default_scope('mmseg')
    relative, seconds = {}, {}
    for name in dict.fromkeys(run.data for run in runs):
        works, same = {}, {}
        for run in (run for run in runs if run.data == name):
            parts = [run.config.model.to_dict(), what == 'train' and run.config.train_dataloader.to_dict()]
            if what == 'predict':
                parts[0].pop('trainable', None)
            key = same[run.variant.name] = json.dumps(parts, sort_keys=True, default=str)
            if key not in works:
                works[key] = SPEEDS[what](run.config)
        middle = medians(time_parts(works, repeats, torch.device('cpu'), progress)[1])
        seconds[name] = {variant: middle[key] for variant, key in same.items()}
        first = next(iter(seconds[name].values()))
        relative[name] = {variant: first / value for variant, value in seconds[name].items()}
    return dict(relative=relative, cpu_seconds=seconds, device=device_name(torch.device('cpu')), repeats=repeats)


def prediction(config: Config) -> Callable[[], object]:
    """`predict` of one image with one box."""
    model = MODELS.build(config.model).eval()
    inputs, samples = model_cost.one_image(model_cost.input_size(model, None))

    def work() -> object:
        with torch.no_grad():
            return model(inputs, samples, mode='predict')

    return work


def training_step(config: Config) -> Callable[[], object]:
    """Losses and gradients of one batch, without its loading."""
    model = MODELS.build(config.model).train()
    loader = Runner.build_dataloader({**config.train_dataloader, 'num_workers': 0, 'persistent_workers': False}, seed=0)
    batch = model.data_preprocessor(next(iter(loader)), True)

    def work() -> object:
        model.zero_grad()
        losses, _ = model.parse_losses(model(**batch, mode='loss'))
        return losses.backward()

    return work


#: What --speed measures.
SPEEDS = {'predict': prediction, 'train': training_step}


# ---------------------------------------------------------------- command line


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with `study` looked up and `runs` listed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', choices=sorted(STUDIES))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='of training (default: 0 1 2)')
    parser.add_argument('--iters', type=int, help="training steps instead of the study's; shares of it shrink alike")
    parser.add_argument('--data', nargs='+', help="run on these alone (default: all of the study's)")
    parser.add_argument('--only', nargs='+', metavar='VARIANT', help='run these alone (--dry-run lists them)')
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time, which share the processors')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/reproduce'), help='of all studies')
    parser.add_argument('--out', type=Path, help='Markdown file to write to (default: configs/results/STUDY.md)')
    parser.add_argument('--repeats', type=int, default=20, help='timed rounds of --speed')
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument('--dry-run', action='store_true', help='list the runs and which are finished')
    mode.add_argument('--table', action='store_true', help='write the table of what is there')
    mode.add_argument(
        '--speed',
        nargs='?',
        const='predict',
        choices=sorted(SPEEDS),
        help='measure relative speed: of `predict` (default), for the table, or of a training step',
    )
    args = parser.parse_args(arguments)
    if args.iters is not None and args.iters < 1 or args.repeats < 1 or args.jobs < 1:
        parser.error(f'--iters {args.iters} --repeats {args.repeats} --jobs {args.jobs}, expected 1 or more')
    if len(set(args.seeds)) < len(args.seeds):
        parser.error(f'--seeds {args.seeds}, expected different ones')
    if args.speed == 'predict' and args.only:
        parser.error('--only with --speed: the table says speeds relative to the first variant, so measure all of them')
    args.study = STUDIES[args.study]
    args.work_dir = args.work_dir.resolve()
    args.out = args.out or RESULTS / f'{args.study.name}.md'
    try:
        args.runs = args.study.runs(args.seeds, args.iters, args.data, args.only)
    except ValueError as error:
        parser.error(str(error))
    return args


def main(arguments: Sequence[str] | None = None, execute: Execute = execute) -> int:
    """The command line; returns the exit code: 1 where a run failed."""
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
        measured = measure_speed(runs, args.speed, args.repeats)
        path = speed_file.with_stem(args.speed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=1))
        say(json.dumps(measured, indent=1))
    write = args.table or args.speed
    try:
        if args.jobs > 1:
            os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
        failed = [] if write else run_all(args.runs, work_dir, execute, jobs=args.jobs)
    except KeyboardInterrupt:
        say('interrupted; the same command goes on with the runs that are not finished')
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
