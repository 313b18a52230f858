"""Checkpoints that are whole or absent, whenever the process is killed."""

from __future__ import annotations

import os
import os.path as osp
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


def write_atomically(content: bytes, path: str | Path) -> None:
    """Write a file so that nobody ever sees half of it, not even after a power cut.

    The bytes go to ``.NAME.partial`` beside it, to the disk, and only then take the file's name. What a killed process
    leaves behind is overwritten by the next write of the same file.
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    partial = osp.join(folder, f'.{name}.partial')
    with open(partial, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, osp.join(folder, name))
    descriptor = os.open(folder, os.O_RDONLY)  # the new name is on the disk when its folder is
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend with :func:`write_atomically`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        write_atomically(obj.encode(encoding), filepath)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` with a good checkpoint on the disk at every moment.

    Differences: files and ``last_checkpoint`` are written atomically; an old checkpoint (also the old best one) is
    deleted after the new one is complete and named, not before. What goes into a checkpoint is the Runner's business
    and that of ``before_save_checkpoint`` hooks.

    Args:
        max_keep_ckpts: Number of checkpoints to keep, -1 for all, otherwise 2 or more.

    Raises:
        ValueError: `max_keep_ckpts` is 1 or 0, or the deprecated `file_client_args` is given.
    """

    def __init__(self, *args: Any, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        if max_keep_ckpts in (0, 1):
            raise ValueError(
                f'AtomicCheckpointHook: max_keep_ckpts is {max_keep_ckpts}, expected -1 (all) or at least 2: with only '
                'one, a run whose newest checkpoint turns out bad (diverged, or on a damaged disk) has nothing to go '
                'back to'
            )
        if kwargs.get('file_client_args') is not None:
            raise ValueError('AtomicCheckpointHook: file_client_args is deprecated in mmengine; use backend_args')
        if kwargs.get('backend_args') is None:
            kwargs['backend_args'] = dict(backend='atomic_local')
        super().__init__(*args, max_keep_ckpts=max_keep_ckpts, **kwargs)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write the checkpoint, point ``last_checkpoint`` at it, and only then delete the one that is too old."""
        outdated = None
        if self.max_keep_ckpts > 0:
            kept: deque = self.keep_ckpt_ids
            if not kept or kept[-1] != step:  # a new best score saves the same step again
                outdated = kept[0] if len(kept) == self.max_keep_ckpts else None
                kept.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(kept))

        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(self.last_ckpt.encode(), osp.join(runner.work_dir, 'last_checkpoint'))
            if outdated is not None:
                self._delete(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """As mmengine's, which deletes the old best checkpoint first: hide it from mmengine, and delete it after."""
        if not self.save_best:
            return
        several = len(self.key_indicators) > 1
        old = dict(self.best_ckpt_path_dict) if several else {'': self.best_ckpt_path}
        if several:
            self.best_ckpt_path_dict = dict.fromkeys(old)
        else:
            self.best_ckpt_path = None
        super()._save_best_checkpoint(runner, metrics)
        new = self.best_ckpt_path_dict if several else {'': self.best_ckpt_path}
        for key, path in old.items():
            if new[key] is None:  # no better than before
                new[key] = path
            elif path is not None and path != new[key] and is_main_process():
                self._delete(path)
        if not several:
            self.best_ckpt_path = new['']

    def _delete(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
