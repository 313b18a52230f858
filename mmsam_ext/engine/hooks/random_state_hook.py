"""`RandomStateHook`: a resumed training draws the same random numbers as an uninterrupted one."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

KEY = 'random_state'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Save the state of PyTorch's CPU generator in checkpoints and restore it on resume.

    The model draws from this generator (dropout, corrective points). The state before a validation is restored after
    it, because a resumed training does not repeat the validation, and its data loaders draw a seed.

    mmengine's iteration loop replays the data on resume, so the data pipeline's random numbers need no state. On a GPU,
    and on every rank but the first, a model that draws random numbers is seeded but not resumed exactly.
    """

    def __init__(self) -> None:
        self.state: torch.Tensor | None = None
        self.outside_validation: torch.Tensor | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the generator's state to the checkpoint; of one saved in a validation, the state before it."""
        inside = self.outside_validation is not None
        checkpoint[KEY] = self.outside_validation if inside else torch.get_rng_state()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the state if training resumes, to be set at the first step."""
        self.state = checkpoint.get(KEY) if runner._resume else None  # noqa: SLF001 (the Runner has no public one)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Set the remembered state once."""
        if self.state is not None:
            torch.set_rng_state(self.state.cpu())
            self.state = None

    def before_val(self, runner: Runner) -> None:
        """Remember the state before the validation."""
        self.outside_validation = torch.get_rng_state()

    def after_val(self, runner: Runner) -> None:
        """Restore the state from before the validation."""
        if self.outside_validation is not None:
            torch.set_rng_state(self.outside_validation)
            self.outside_validation = None
