"""A resumed training draws the random numbers that the uninterrupted one would have drawn."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

KEY = 'random_state'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keeps the state of PyTorch's CPU generator in checkpoints, for what is drawn in the model (dropout, corrective
    points).

    Validation, which a resumed training does not repeat, leaves no trace in the state (data loaders draw a seed).

    mmengine's iteration loop repeats the data on resume, so that the data's own random numbers need no state. On a GPU,
    and on other ranks than the first, a model that draws random numbers is seeded but not resumed exactly.
    """

    def __init__(self) -> None:
        self.state: torch.Tensor | None = None
        self.outside_validation: torch.Tensor | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the state."""
        checkpoint[KEY] = torch.get_rng_state()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the state where a training is resumed; it counts from the first step on."""
        self.state = checkpoint.get(KEY) if runner._resume else None  # noqa: SLF001 (the Runner has no public one)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the state, once."""
        if self.state is not None:
            torch.set_rng_state(self.state.cpu())
            self.state = None

    def before_val(self, runner: Runner) -> None:
        """Remember the state of training."""
        self.outside_validation = torch.get_rng_state()

    def after_val(self, runner: Runner) -> None:
        """Put it back."""
        torch.set_rng_state(self.outside_validation)
