"""`TimedLoggerHook`: a training that says at least every few seconds how far it is."""

from __future__ import annotations

import time
from typing import Any, cast

from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class TimedLoggerHook(LoggerHook):
    """Log as mmengine's ``LoggerHook`` does, and also whenever `seconds` have passed since the last line.

    The lines are mmengine's, with the time left (`eta`), and their numbers go into the curves as well. The first
    iteration of a training, a validation and a test has a line, too. A line needs an iteration to end, so an iteration
    that takes longer than `seconds` delays it.

    Args:
        seconds: Longest time between two lines, in seconds.
        *args: See ``LoggerHook``.
        **kwargs: See ``LoggerHook``.

    Raises:
        ValueError: `seconds` is not positive.

    Example:
        >>> default_hooks = dict(logger=dict(type='TimedLoggerHook', interval=50, log_metric_by_epoch=False))
    """

    def __init__(self, *args: Any, seconds: float = 10.0, **kwargs: Any) -> None:
        if seconds <= 0:
            raise ValueError(f'TimedLoggerHook: seconds is {seconds}, expected a number above 0')
        super().__init__(*args, **kwargs)
        self.seconds = seconds
        self._last: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Log what is going to happen, before the first iteration."""
        loader = runner.train_dataloader
        batch, samples = getattr(loader, 'batch_size', None), len(cast('Any', loader.dataset))
        size = f'{batch} of {samples} samples each' if batch else f'{samples} samples'
        left = runner.max_iters - runner.iter
        runner.logger.info(
            f'Training starts: {left} iterations, {size}; log, config and checkpoints go to {runner.work_dir}'
        )
        self._last = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Show the first batch of a validation."""
        self._last = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Show the first batch of a test."""
        self._last = None

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the results and write them to a file, on the first rank: mmengine lets all ranks write the same file."""
        if is_main_process():
            super().after_test_epoch(runner, metrics)

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        """Return whether a line is due after an iteration: every `n`-th, the first one, or after `seconds`."""
        now = time.monotonic()
        late = self._last is None or now - self._last >= self.seconds
        due = late or super().every_n_inner_iters(batch_idx, n)
        if due:
            self._last = now
        return due
