"""Running the trainings and tests of a study: what is unfinished, several at a time."""

from __future__ import annotations

import copy
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsam_ext.cli import model_cost

from .study import ROOT, TOOLS, Run, RunError

#: (run, its empty folder) -> its result, see :meth:`Run.result`.
Execute = Callable[[Run, Path], dict]
#: How many folders lie between that of a run and that of all studies, see :meth:`Run.folder`.
FOLDERS = 3


def execute(run: Run, folder: Path) -> dict:
    """Count the model's costs, train the variant if it is to be trained, and test it.

    Args:
        run: What to run.
        folder: Its empty folder.

    Returns:
        `metrics`, `cost` and `seconds`.

    Raises:
        RunError: The model cannot be counted, the run that this one starts from is not finished, or one of the tools
            failed.
    """
    config, seconds, costs = folder / 'config.py', {}, cost(run.config)
    settings = copy.deepcopy(run.config)
    if run.parent is not None:
        start = run.parent.checkpoint(folder.parents[FOLDERS])
        if not start.is_file():
            raise RunError(f'it starts from the run {run.parent}, which is not finished; run that variant first')
        settings.model.init_cfg = dict(type='Pretrained', checkpoint=str(start))
    settings.dump(config)
    weights = run.study.weights
    if run.variant.trained:
        seconds['train'] = call(folder / 'train.log', 'train.py', config, '--work-dir', folder / 'train')
        weights = folder / 'train' / f'iter_{run.iterations}.pth'
    seconds['test'] = call(folder / 'test.log', 'test.py', config, weights, '--work-dir', folder / 'test')
    (path,) = (folder / 'test').glob('*/*.json')
    return dict(metrics=json.loads(path.read_text()), cost=costs, seconds=seconds)


def call(log: Path, tool: str, *arguments: object) -> float:
    """Run a script of tools/ in the folder that holds data/; returns the seconds it took.

    Args:
        log: File for everything that it prints.
        tool: Name of the script.
        arguments: Its command line.

    Raises:
        RunError: The script failed; the message has the end of its log.
    """
    start = time.perf_counter()
    with log.open('w') as file:
        line = [sys.executable, TOOLS / tool, *arguments]
        done = subprocess.run([str(part) for part in line], stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode:
        raise RunError(f'{tool} failed ({done.returncode}), {log}:\n{log.read_text()[-2000:]}')
    return time.perf_counter() - start


def cost(config: Config) -> dict[str, int]:
    """Return the number of trained parameters, the operations, and those of modules with trained parameters.

    Raises:
        RunError: The config does not determine the input size.
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


def run_all(
    runs: Sequence[Run], work_dir: Path, execute: Execute, progress: Callable[[str], None] = print, jobs: int = 1
) -> list[str]:
    """Run all unfinished runs, `jobs` at a time. A run that fails is reported and does not stop the others.

    Args:
        runs: All runs; those with a result in `work_dir` are not run again.
        work_dir: Folder of all studies.
        execute: Trains and tests one run.
        progress: Gets a line before and after each run.
        jobs: Number of runs at a time.

    Returns:
        A message for each run that failed.
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
                run = next((run for run in rest if run.parent not in (*rest, *under_way.values())), None)
                if run is None:
                    break  # the others start from runs under way
                rest.remove(run)
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
    """Execute a run in its folder, which is emptied first, and write the result there; returns the seconds it took.

    Raises:
        RunError: The run failed, or the packaged weights were replaced in the meantime.
    """
    shutil.rmtree(folder, ignore_errors=True)  # left over from an interrupted run
    folder.mkdir(parents=True)
    run.check_unchanged()
    result = execute(run, folder)
    run.check_unchanged()
    partial = folder / '.result.json.partial'
    partial.write_text(json.dumps(result, indent=1))
    partial.rename(folder / 'result.json')
    return sum(result['seconds'].values())


def remaining(times: dict[Run, float], runs: Sequence[Run]) -> float:
    """Estimate the seconds that `runs` will take: as runs on the same data with as many steps, or the mean of all."""

    def estimate(run: Run) -> float:
        like = [value for other, value in times.items() if _kind(other) == _kind(run)]
        return statistics.fmean(like or times.values())

    return sum(map(estimate, runs))


def _kind(run: Run) -> tuple:
    return run.data, run.variant.trained, run.iterations


def clock(seconds: float) -> str:
    """Return a duration as '1 h 05 min', '3 min' or '12 s'."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f'{minutes // 60} h {minutes % 60:02d} min'
    return f'{minutes} min' if seconds >= 60 else f'{seconds:.0f} s'
