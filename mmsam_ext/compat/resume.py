"""``--resume`` from the newest checkpoint that loads, wherever mmengine looks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Replace mmengine's look-up of the last checkpoint, which believes what a text file says."""
    import mmengine.runner
    from mmengine.runner import Runner, _flexible_runner, checkpoint, runner

    for owner in (checkpoint, runner, _flexible_runner, mmengine.runner):
        replace(owner, 'find_latest_checkpoint', _newest_that_loads)
    replace(Runner, 'resume', _only_of_a_training)


def _newest_that_loads(stock: Callable) -> Callable:
    def find_latest_checkpoint(path: str) -> str | None:
        from mmsam_ext.checkpoints.latest import newest_checkpoint

        return newest_checkpoint(path)

    return find_latest_checkpoint


def _only_of_a_training(stock: Callable) -> Callable:
    def resume(self: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        from mmsam_ext.checkpoints import CheckpointError

        try:
            stock(self, filename, *args, **kwargs)
        except KeyError as error:
            if error.args[0] not in ('meta', 'epoch', 'iter', 'message_hub', 'optimizer'):
                raise
            raise CheckpointError(
                f'{filename}: no {error.args[0]!r} in it, so a training cannot be resumed from it. Without '
                '`resume=True` its weights are loaded, and the training starts at iteration 0'
            ) from error

    return resume
