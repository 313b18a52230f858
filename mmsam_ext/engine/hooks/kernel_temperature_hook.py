"""Annealing of the temperature of omni-dimensional convolutions."""

from __future__ import annotations

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class KernelTemperatureHook(Hook):
    """Lowers the temperature of every trained ``OmniDimensionalConv`` linearly: all kernels learn before the model
    chooses. One whose weight is frozen keeps the temperature that it was trained at.

    The official recipe of ODConv goes from 30 to 1 over the first 10 epochs; here it is a share of the training, 10 of
    200 epochs, so that it fits loops over epochs and over iterations. The temperature is a function of the iteration
    (a resumed run goes on as it would have), and a buffer of the model (a checkpoint is tested at its own).

    Args:
        start: Temperature of the first iteration.
        end: Temperature after the annealing.
        fraction: Share of all iterations that the annealing takes.

    Raises:
        ValueError: a temperature that is not positive, or a fraction outside of (0, 1].
    """

    def __init__(self, start: float = 30.0, end: float = 1.0, fraction: float = 0.05) -> None:
        if min(start, end) <= 0 or not 0 < fraction <= 1:
            raise ValueError(
                f'KernelTemperatureHook: start={start}, end={end}, fraction={fraction}; expected positive temperatures '
                'and a fraction in (0, 1]'
            )
        self.start, self.end, self.fraction = start, end, fraction

    def before_train(self, runner: Runner) -> None:
        """Look for the convolutions once; a model without any to train (an ablation) is left as is, with a word."""
        # Imported here: models import the engine.
        from mmsam_ext.models.layers import OmniDimensionalConv

        self._layers = [
            module
            for module in runner.model.modules()
            if isinstance(module, OmniDimensionalConv) and module.weight.requires_grad
        ]
        if not self._layers:
            print_log('KernelTemperatureHook: the model trains no OmniDimensionalConv', 'current', logging.WARNING)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the temperature of this iteration."""
        value = self.temperature(runner.iter, runner.max_iters)
        for layer in self._layers:
            layer.temperature.fill_(value)

    def temperature(self, iteration: int, iterations: int) -> float:
        """Of an iteration of so many."""
        done = min(1.0, iteration / (self.fraction * iterations))
        return self.start + (self.end - self.start) * done
