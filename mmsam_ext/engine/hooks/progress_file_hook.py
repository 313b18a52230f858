"""`ProgressFileHook`: how far a training is, in a file that another program can show."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from .atomic_checkpoint_hook import write_atomically

#: Name of the file in the work folder.
PROGRESS = 'progress.json'
_POINTS = 400


@HOOKS.register_module()
class ProgressFileHook(Hook):
    """Write iteration, time left, the curve of the loss and the scores of validations to ``progress.json``.

    The file is written every `seconds`, complete or not at all. The curve has at most 400 points.

    Args:
        seconds: Time between two writes, in seconds.
    """

    priority = 'VERY_LOW'

    def __init__(self, seconds: float = 2.0) -> None:
        self.seconds = seconds
        self._losses: list[tuple[int, float]] = []
        self._scores: list[dict[str, Any]] = []
        self._written = self._started = 0.0
        self._first = 0

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._started, self._first = time.monotonic(), runner.iter
        self._write(runner, 'training')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Remember the loss, and write if it is time."""
        if outputs and 'loss' in outputs:
            self._losses.append((runner.iter + 1, float(torch.as_tensor(outputs['loss']).detach())))
            if len(self._losses) > 2 * _POINTS:
                self._losses = self._losses[::2]
        if time.monotonic() - self._written >= self.seconds:
            self._write(runner, 'training', runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remember the scores of a validation."""
        numbers = {name: float(value) for name, value in (metrics or {}).items() if isinstance(value, (int, float))}
        self._scores.append(dict(iteration=runner.iter, **numbers))
        self._write(runner, 'training')

    def after_train(self, runner: Runner) -> None:
        """Write the end."""
        self._write(runner, 'trained')

    @master_only
    def _write(self, runner: Runner, state: str, iteration: int | None = None) -> None:
        done = runner.iter if iteration is None else iteration
        passed = time.monotonic() - self._started
        steps = done - self._first
        left = None if steps <= 0 else passed / steps * (runner.max_iters - done)
        content = dict(
            state=state,
            iteration=done,
            iterations=runner.max_iters,
            seconds=round(passed, 1),
            seconds_left=None if left is None else round(left, 1),
            losses=self._losses[-2 * _POINTS :],
            scores=self._scores,
        )
        write_atomically(json.dumps(content).encode(), Path(runner.work_dir) / PROGRESS)
        self._written = time.monotonic()
