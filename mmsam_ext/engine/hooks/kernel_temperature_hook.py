"""`KernelTemperatureHook`: annealing of the temperature of omni-dimensional convolutions."""

from __future__ import annotations

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class KernelTemperatureHook(Hook):
    """Lower the temperature of every trained ``OmniDimensionalConv`` linearly over the first part of the training.

    At a high temperature all kernels of a convolution contribute and learn; at a low one the model chooses among them.
    A convolution whose weight is frozen keeps the temperature at which it was trained.

    The official recipe of ODConv anneals from 30 to 1 over the first 10 of 200 epochs. Here the length is given as a
    share of the training, so that it fits loops over epochs and loops over iterations. The temperature depends on the
    iteration only, so a resumed run continues correctly. It is a buffer of the model, so a checkpoint is tested at the
    temperature it was saved with.

    Paper: Omni-Dimensional Dynamic Convolution (arXiv 2209.07947).

    Args:
        start: Temperature at the first iteration.
        end: Temperature after the annealing.
        fraction: Share of all iterations that the annealing takes.

    Raises:
        ValueError: A temperature is not positive, or `fraction` lies outside (0, 1].
    """

    def __init__(self, start: float = 30.0, end: float = 1.0, fraction: float = 0.05) -> None:
        if min(start, end) <= 0 or not 0 < fraction <= 1:
            raise ValueError(
                f'KernelTemperatureHook: start={start}, end={end}, fraction={fraction}; expected positive temperatures '
                'and a fraction in (0, 1]'
            )
        self.start, self.end, self.fraction = start, end, fraction

    def before_train(self, runner: Runner) -> None:
        """Collect the convolutions; log a warning if the model trains none (as in an ablation)."""
        # Imported here because importing the models takes seconds.
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
        """Return the temperature at `iteration` of `iterations`."""
        done = min(1.0, iteration / (self.fraction * iterations))
        return self.start + (self.end - self.start) * done
