"""One training in a work folder, whichever checkpoint hook and script it uses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Let Runners lock their work folder while they train, and leave the config of another process's training alone."""
    from mmengine.runner import FlexibleRunner, Runner

    for owner in (Runner, FlexibleRunner):
        replace(owner, 'train', _locked)
        replace(owner, 'dump_config', _unless_locked)


def _locked(stock: Callable) -> Callable:
    def train(self: Any) -> Any:
        from mmengine.dist import is_main_process

        from mmsam_ext.engine.work_dir_lock import WorkDirLock

        if not is_main_process():
            return stock(self)
        lock = WorkDirLock(self.work_dir)
        lock.acquire()
        try:
            return stock(self)
        finally:
            lock.release()

    return train


def _unless_locked(stock: Callable) -> Callable:
    def dump_config(self: Any) -> None:
        from mmengine.dist import is_main_process

        from mmsam_ext.engine.work_dir_lock import WorkDirLock

        # Of a distributed training, the first process may hold the lock by now.
        owner = WorkDirLock(self.work_dir).other_owner() if is_main_process() else None
        if owner is None:
            return stock(self)
        return self.logger.log(
            logging.WARNING,
            f'{self.work_dir}: a training is running in this work_dir ({owner}); the copy of its config there is left '
            'as it is',
        )

    return dump_config
