"""Kill a training again and again by SIGKILL, resume it each time, and compare the end with an uninterrupted training.

Usage: python tools/analysis/kill_and_resume.py [CONFIG] [--kills 25] [--iterations 100] [--size 64] [--seed 0]
    [--out DIR]

Every second kill falls into the writing of a file (a checkpoint, or ``last_checkpoint``), of which a random part is on
the disk by then; the others come at a random moment. The training has a data loading worker, averaged weights
(EMAHook), and what the config has: the default one keeps checkpoints of the trained part alone. Its images are small,
so that a kill takes little more than the start of a training.
Weights, averaged weights, optimizer and random state must be equal bit for bit: exit code 0 if they are, otherwise 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import runpy
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parents[1]
runpy.run_path(str(TOOLS / '_bootstrap.py'))

import torch  # noqa: E402

import mmsam_ext  # noqa: E402
from mmsam_ext.apis import InferenceError  # noqa: E402
from mmsam_ext.apis.model_loading import load_config  # noqa: E402
from mmsam_ext.checkpoints.latest import newest_checkpoint  # noqa: E402

#: Iterations between two checkpoints.
INTERVAL = 2
#: Seconds that a training may take from its start to its end.
LONGEST = 1800
COMPARED = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'random_state')


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', type=Path, default=TOOLS.parent / 'configs' / 'spt_tiny_synthetic.py')
    parser.add_argument('--kills', type=int, default=25)
    parser.add_argument('--iterations', type=int, default=100)
    parser.add_argument('--size', type=int, default=64, help='pixels of the sides of the images, a multiple of 16')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='an empty folder; default: a temporary one, removed at the end')
    args = parser.parse_args(arguments)
    if args.size < 16 or args.size % 16:
        parser.error(f'--size {args.size}, expected a multiple of 16')
    if args.kills < 1 or args.iterations < 4 * args.kills:
        parser.error(
            f'--kills {args.kills} --iterations {args.iterations}, expected 4 iterations or more for each kill'
        )
    return args


def write_config(source: Path, folder: Path, iterations: int, size: int) -> Path:
    """Write the config of the trainings: one worker, averaged weights, a checkpoint every second iteration."""
    config = load_config(source)
    config.model.data_preprocessor.size = config.train_dataloader.dataset.size = (size, size)
    config.train_dataloader.update(num_workers=1, persistent_workers=True, batch_size=1)
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=10 * iterations)
    config.val_dataloader = config.val_evaluator = config.val_cfg = None
    config.default_hooks.checkpoint.update(interval=INTERVAL, max_keep_ckpts=3)
    config.default_hooks.logger.interval = 10 * iterations
    if not any(hook.type == 'EMAHook' for hook in config.custom_hooks):
        average = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1)
        config.custom_hooks = [average, *config.custom_hooks]
    config.dump(folder / 'config.py')
    return folder / 'config.py'


def train(config: Path, work_dir: Path, dying_write: tuple[int, float] | None = None) -> None:
    """Run ``tools/train.py --resume`` in this process; its output goes to a file beside the work folder.

    Args:
        config: File of the config.
        work_dir: Work folder of the training.
        dying_write: Number of the write during which the process kills itself, and the share of the file that is on the
            disk then.
    """
    log = os.open(f'{work_dir}.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if dying_write is not None:
        die_while_writing(*dying_write)
    sys.path.insert(0, str(TOOLS))
    sys.argv = ['train.py', str(config), '--work-dir', str(work_dir), '--resume']
    runpy.run_path(str(TOOLS / 'train.py'), run_name='__main__')


def die_while_writing(number: int, share: float) -> None:
    """Replace ``os.fsync``: its `number`-th call on a file finds a `share` of it on the disk, and the process dead."""
    stock, calls = os.fsync, iter(range(1, sys.maxsize))

    def dying_fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and next(calls) == number:
            os.ftruncate(descriptor, int(os.fstat(descriptor).st_size * share))
            os.kill(os.getpid(), signal.SIGKILL)
        stock(descriptor)

    os.fsync = dying_fsync


def run(
    config: Path,
    work_dir: Path,
    dying_write: tuple[int, float] | None = None,
    checkpoint: int | None = None,
    delay: float = 0.0,
) -> int:
    """Train in a process of its own. Return its exit code, negative for a signal.

    Args:
        config: Config file.
        work_dir: Work folder of the training.
        dying_write: As for :func:`train`.
        checkpoint: Kill the process after the checkpoint of this iteration is there; None: let it end.
        delay: Seconds between that checkpoint and the kill.

    Raises:
        TimeoutError: the training takes too long.
    """
    mmsam_ext.register()  # once, here: the trainings are forked
    child = multiprocessing.get_context('fork').Process(target=train, args=(config, work_dir, dying_write))
    child.start()
    end = time.monotonic() + LONGEST
    while child.exitcode is None and time.monotonic() < end:
        if checkpoint is not None and (not checkpoint or (work_dir / f'iter_{checkpoint}.pth').exists()):
            child.join(delay)
            child.kill()
            child.join()
            return child.exitcode
        child.join(0.01)
    if child.exitcode is None:
        child.kill()
        raise TimeoutError(f'{work_dir}: the training did not end in {LONGEST} s; see {work_dir}.log')
    return child.exitcode


def differences(first: Any, second: Any, name: str = '') -> Iterator[str]:
    """Yield the names of what is not equal in two nested structures of tensors."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if first.dtype != second.dtype or not torch.equal(first, second):
            yield name
    elif isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from differences(first[key], second[key], f'{name}.{key}')
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from differences(*pair, f'{name}[{index}]')
    elif type(first) is not type(second) or first != second:
        yield name


def seconds_between_checkpoints(work_dir: Path) -> float:
    """Return the mean time from one of the kept checkpoints to the next."""
    times = sorted(path.stat().st_mtime for path in work_dir.glob('iter_*.pth'))
    return (times[-1] - times[0]) / max(1, len(times) - 1)


def kill_and_resume(folder: Path, config: Path, kills: int, iterations: int, seed: int) -> list[str]:
    """Run all trainings in `folder`. Return what differs at the end.

    Args:
        folder: An empty folder.
        config: Config file that :func:`write_config` has written.
        kills: Number of kills.
        iterations: Length of the training.
        seed: Seed of the moments of the kills.

    Raises:
        RuntimeError: a training ended with an error, or before it could be killed.
    """
    draw = random.Random(seed)
    start = time.monotonic()
    if run(config, folder / 'whole'):
        raise RuntimeError(f'the training without kills failed; see {folder / "whole.log"}')
    pause = seconds_between_checkpoints(folder / 'whole')
    print(f'Without a kill: {iterations} iterations in {time.monotonic() - start:.0f} s', flush=True)
    done, at = 0, 0
    while done < kills:
        # Checkpoints that a killed training may write; it may write one or two more before it is dead.
        step = max(1, (iterations - at) // INTERVAL // (kills - done) - 2)
        if done % 2:
            plan = dict(dying_write=(draw.randint(1, 2 * step), draw.random()))
        else:
            plan = dict(checkpoint=at + INTERVAL * draw.randint(1, step), delay=draw.uniform(0, pause))
        code = run(config, folder / 'killed', **plan)
        if code == 0:
            raise RuntimeError(f'the training ended after {done} of {kills} kills: give more --iterations')
        if code != -signal.SIGKILL:
            raise RuntimeError(f'a resumed training failed with code {code}; see {folder / "killed.log"}')
        done += 1
        newest = newest_checkpoint(str(folder / 'killed'))
        at = int(Path(newest).stem.removeprefix('iter_')) if newest else 0
        print(f'Kill {done}: {plan}; goes on from {Path(newest).name if newest else "the start"}', flush=True)
    if run(config, folder / 'killed'):
        raise RuntimeError(f'the last training failed; see {folder / "killed.log"}')
    ends = [torch.load(folder / name / f'iter_{iterations}.pth', weights_only=True) for name in ('whole', 'killed')]
    print(f'Killed {done} times; compares {[part for part in COMPARED if part in ends[0]]}', flush=True)
    return [name for part in COMPARED for name in differences(ends[0].get(part), ends[1].get(part), part)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parse(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        if folder.exists() and not folder.is_dir():
            sys.exit(f'kill_and_resume.py: error: --out {folder} is a file; expected a folder')
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            sys.exit(f'kill_and_resume.py: --out {folder} is not empty')
        try:
            config = write_config(args.config, folder.resolve(), args.iterations, args.size)
            different = kill_and_resume(folder.resolve(), config, args.kills, args.iterations, args.seed)
        except (AttributeError, InferenceError, OSError, RuntimeError) as error:  # in the config, or of a training
            sys.exit(f'kill_and_resume.py: error: {args.config}: {error}')
    print(f'Different: {", ".join(different[:10])}' if different else 'Equal bit for bit')
    return 1 if different else 0


if __name__ == '__main__':
    sys.exit(main())
