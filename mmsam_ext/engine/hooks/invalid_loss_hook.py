"""Stop training when a loss is NaN or infinite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stop training when a loss is NaN or infinite, before a checkpoint of that step is written.

    Args:
        interval: Number of iterations between two checks.

    Raises:
        FloatingPointError: A loss is not finite. The message names the iteration, each such loss and the samples of
            the batch.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check `outputs`, the logged losses of the step."""
        if not self.every_n_train_iters(runner, self.interval) or not outputs:
            return
        values = {name: torch.as_tensor(value).detach() for name, value in outputs.items()}
        bad = {name: value.tolist() for name, value in values.items() if not torch.isfinite(value).all()}
        if bad:
            samples: Sequence = (data_batch or {}).get('data_samples', [])
            names = [sample.metainfo.get('sample_id') or sample.metainfo.get('img_path') for sample in samples]
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: loss is not finite: {bad} in a batch of {names}. Training stops; the '
                'last checkpoint was written before this step. Check these samples, lower the learning rate, or clip '
                'the gradients.'
            )
