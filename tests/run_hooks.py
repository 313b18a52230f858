"""Hooks that disturb and watch whole runs, for configs with `tests.run_hooks` in their ``custom_imports``."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


def state_hash(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 of all tensors of a state dict, with their names."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def last_checkpoint(folder: str | Path) -> Path | None:
    """The file that ``last_checkpoint`` names, None where there is none yet; it must be whole and be what it says.

    Raises:
        AssertionError: it is not.
    """
    pointer = Path(folder) / 'last_checkpoint'
    if not pointer.exists():
        return None
    path = Path(pointer.read_text())
    checkpoint = torch.load(path, map_location='cpu', weights_only=False)
    assert path.name == f'iter_{checkpoint["meta"]["iter"]}.pth'
    assert checkpoint['state_dict'] and checkpoint['optimizer']
    return path


@HOOKS.register_module()
class PoisonHook(Hook):
    """Puts a NaN into a trained weight before iteration `at` (the first is 1)."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if runner.iter + 1 == self.at:
            parameter = next(p for p in runner.model.parameters() if p.requires_grad)
            parameter.data.view(-1)[0] = float('nan')


@HOOKS.register_module()
class DieHook(Hook):
    """Kills its own process by SIGKILL after the step of iteration `at`, or, with `writing`, when half of that
    iteration's checkpoint is on the disk. At every step before, the last checkpoint must be whole."""

    priority = 'HIGHEST'

    def __init__(self, at: int, writing: bool = False) -> None:
        self.at, self.writing = at, writing

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        last_checkpoint(runner.work_dir)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        if runner.iter + 1 == self.at and not self.writing:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        last_checkpoint(runner.work_dir)
        if runner.iter + 1 == self.at and self.writing:
            os.fsync = die_halfway


def die_halfway(descriptor: int) -> None:
    """In place of ``os.fsync``: half of the file is there, and the process is not."""
    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class RankStateHook(Hook):
    """Writes a hash of the weights of this rank after training: ``<work_dir>/rank<RANK>_<before|after>``."""

    def before_train(self, runner: Runner) -> None:
        self._write(runner, 'before')

    def after_train(self, runner: Runner) -> None:
        self._write(runner, 'after')

    @staticmethod
    def _write(runner: Runner, when: str) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        Path(runner.work_dir, f'rank{runner.rank}_{when}').write_text(state_hash(model.state_dict()))
