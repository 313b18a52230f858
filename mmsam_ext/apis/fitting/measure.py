"""Measure how long a training step takes on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

#: Steps that are run, and those of them that count: the first ones wait for data and warm up.
STEPS, COUNTED = 6, 3


class StepTimer(Hook):
    """Remember when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Take the time."""
        self.ends.append(time.monotonic())

    def seconds(self) -> float:
        """Return the median of the last steps."""
        ends = self.ends[-COUNTED - 1 :]
        return statistics.median(after - before for before, after in zip(ends, ends[1:], strict=False))


def seconds_per_step(config: Config) -> float:
    """Return the seconds of a training step with this config; nothing is kept of the steps."""
    config = Config(config.to_dict())
    for name in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        config[name] = None
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=STEPS)
    config.default_hooks = dict(
        logger=dict(type='LoggerHook', interval=1000),
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10**9, save_last=False),
    )
    config.log_level = 'WARNING'
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir, config.experiment_name = folder, f'measure_{time.monotonic_ns()}'
        # mmengine keeps visualizers by name for the life of the process, with their folder.
        config.visualizer = dict(type='Visualizer', name=config.experiment_name)
        runner = Runner.from_cfg(config)
        runner.register_hook(timer)
        runner.train()
    return timer.seconds()
