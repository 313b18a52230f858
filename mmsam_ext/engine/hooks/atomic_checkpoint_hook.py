"""`AtomicCheckpointHook`: checkpoints that are complete or absent, whenever the process is killed."""

from __future__ import annotations

import os
import os.path as osp
import time
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsam_ext.checkpoints.latest import numbered_checkpoints

from ..work_dir_lock import WorkDirLock

#: How the name of a file ends while it is written.
PARTIAL = '.partial'


#: Parts of the names of metrics of which more, or less, is better; besides mmengine's own.
GREATER, LESS = ('IoU', 'Dice', 'mE', 'maxE', 'AUROC', 'AP', 'ST', 'F1', 'PRO'), ('MAE', 'NoC', 'FNR', 'FPR', 'ECE')


def with_direction(metrics: dict, greater: Sequence[str], less: Sequence[str]) -> str | None:
    """Return the first metric that is a number and whose direction is known by its name."""
    for name, value in metrics.items():
        known = any(key.lower() in name.lower() for key in (*greater, *less))
        if known and isinstance(value, (int, float)) and value == value:
            return name
    return None


def write_atomically(content: bytes, path: str | Path) -> None:
    """Write a file so that readers see it complete or not at all, even after a power cut.

    The bytes are written and synced to a file with a unique name in the same folder, ``.NAME.<id>.partial``, which is
    then renamed. :func:`remove_partial_files` removes what a killed process leaves behind.
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    partial = osp.join(folder, f'.{name}.{uuid.uuid4().hex[:12]}{PARTIAL}')
    try:
        with open(partial, 'xb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, osp.join(folder, name))
    except BaseException:  # a full disk, an interrupt
        with suppress(OSError):
            os.remove(partial)
        raise
    descriptor = os.open(folder, os.O_RDONLY)  # the new name is on the disk once its folder is synced
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: str) -> None:
    """Remove what killed processes left in a folder to which no other process writes now."""
    for name in os.listdir(folder) if osp.isdir(folder) else ():
        if name.startswith('.') and name.endswith(PARTIAL):
            with suppress(OSError):
                os.remove(osp.join(folder, name))


class AtomicLocalBackend(LocalBackend):
    """Write files with :func:`write_atomically`, otherwise as mmengine's local backend does."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes atomically."""
        write_atomically(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text atomically."""
        write_atomically(obj.encode(encoding), filepath)


register_backend('atomic_local', AtomicLocalBackend)


def check_whole_checkpoints(runner: Runner) -> None:
    """Check that a sharded training gathers its whole state on the first rank, and writes one file.

    Raises:
        ValueError: Its strategy is FSDPStrategy with another `state_dict_cfg` than 'full'.
    """
    strategy: Any = getattr(runner, 'strategy', None)
    whole = getattr(strategy, '_is_full_state_dict', None)
    if whole is not None and not whole():
        raise ValueError(
            "FSDPStrategy: state_dict_cfg='local' (mmengine's default) writes a folder of shards that neither --resume "
            "nor test can read: ShardedTensor is not on the list of safe types. Set strategy.state_dict_cfg='full'"
        )


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """Save checkpoints as mmengine's ``CheckpointHook`` does, with a valid checkpoint on the disk at every moment.

    The differences: files and ``last_checkpoint`` are written atomically, and an old checkpoint (also the old best one)
    is deleted after the new one is complete, not before. The Runner and the ``before_save_checkpoint`` hooks decide
    what goes into a checkpoint. A checkpoint is also written whenever `max_minutes` have passed since the last one.
    With ``save_best='auto'``, the best checkpoint is the one of the first metric whose direction is known
    (:data:`GREATER`, :data:`LESS`).

    Args:
        max_keep_ckpts: Number of checkpoints to keep, -1 for all, otherwise 2 or more.
        max_minutes: Longest time between two checkpoints of a training by iterations, in minutes; None for no limit.

    Raises:
        ValueError: `max_keep_ckpts` is 0 or 1, `max_minutes` is not positive, or the deprecated `file_client_args` is
            given.
    """

    def __init__(self, *args: Any, max_keep_ckpts: int = -1, max_minutes: float | None = None, **kwargs: Any) -> None:
        if max_minutes is not None and max_minutes <= 0:
            raise ValueError(f'AtomicCheckpointHook: max_minutes is {max_minutes}, expected None or a number above 0')
        if max_keep_ckpts in (0, 1):
            raise ValueError(
                f'AtomicCheckpointHook: max_keep_ckpts is {max_keep_ckpts}, expected -1 (all) or at least 2: with only '
                'one, a run whose newest checkpoint turns out to be bad (diverged, or on a damaged disk) cannot go '
                'back to an earlier one'
            )
        if kwargs.get('file_client_args') is not None:
            raise ValueError('AtomicCheckpointHook: file_client_args is deprecated in mmengine; use backend_args')
        if kwargs.get('backend_args') is None:
            kwargs['backend_args'] = dict(backend='atomic_local')
        kwargs.setdefault('greater_keys', [*self._default_greater_keys, *GREATER])
        kwargs.setdefault('less_keys', [*self._default_less_keys, *LESS])
        super().__init__(*args, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self.max_minutes = max_minutes
        self._saved_at = time.monotonic()
        self._progress: dict[str, int] = {}
        self._out_lock: WorkDirLock | None = None

    def before_train(self, runner: Runner) -> None:
        """On the first rank, remove the partial files of a killed training; the Runner has locked the work folder.

        Raises:
            ValueError: A sharded training (FSDP) would write a file of each rank, which the safe loader rejects.
        """
        check_whole_checkpoints(runner)
        if is_main_process():
            self._take_over(runner, runner.work_dir)
        super().before_train(runner)
        elsewhere = osp.realpath(self.out_dir) != osp.realpath(runner.work_dir)
        if is_main_process() and elsewhere and isinstance(self.file_backend, LocalBackend):
            self._out_lock = WorkDirLock(self.out_dir)  # other work folders of this name write there, too
            self._out_lock.acquire()
            self._take_over(runner, self.out_dir)
        self._saved_at = time.monotonic()

    def after_train(self, runner: Runner) -> None:
        """Unlock `out_dir`."""
        super().after_train(runner)
        if self._out_lock is not None:
            self._out_lock.release()

    def _take_over(self, runner: Runner, folder: str) -> None:
        """Remove what a killed training left in a locked folder, and warn if its checkpoints will be replaced."""
        remove_partial_files(folder)
        found = numbered_checkpoints(folder)
        if found and not runner._resume:  # noqa: SLF001 (the Runner has no public one)
            runner.logger.warning(
                f'{folder} holds checkpoints of an earlier training (the newest is {osp.basename(found[0][1])}). This '
                'one starts at iteration 0 and overwrites them. To continue the earlier training instead, use --resume'
            )

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save as ``CheckpointHook`` does, or because `max_minutes` have passed (the first rank decides alone)."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        late = self.max_minutes is not None and time.monotonic() - self._saved_at >= 60 * self.max_minutes
        sharded = hasattr(runner, 'strategy')  # all ranks gather the state together
        if sharded and self.max_minutes is not None and get_world_size() > 1:
            broadcast_object_list(decision := [late])  # of the first rank
            late = decision[0]
        if late and not self.by_epoch and (sharded or is_main_process()):
            runner.logger.info(f'Saving checkpoint at {runner.iter + 1} iterations, {self.max_minutes} minutes passed')
            self._save_checkpoint(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Correct the epoch and the iteration of a checkpoint: FlexibleRunner counts one more after a validation."""
        checkpoint['meta'].update(self._progress)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write the checkpoint, point ``last_checkpoint`` at it, and only then delete the outdated one."""
        self._progress = dict(meta)
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
        self._progress = {}
        self._saved_at = time.monotonic()
        if is_main_process():
            write_atomically(self.last_ckpt.encode(), osp.join(runner.work_dir, 'last_checkpoint'))
            if outdated is not None:
                self._delete(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(outdated)))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Delete the old best checkpoint after saving the new one, where mmengine would delete it before."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            known = with_direction(metrics, cast('Any', self.greater_keys), cast('Any', self.less_keys))
            if known is None:
                runner.logger.warning(
                    f"save_best='auto': whether more or less is better is not known for any of {', '.join(metrics)}, "
                    'so no best checkpoint is kept; set save_best and rule in default_hooks.checkpoint'
                )
                return
            metrics = {known: metrics[known]}
        self._progress = dict(epoch=runner.epoch, iter=runner.iter)
        several = len(self.key_indicators) > 1
        old = dict(self.best_ckpt_path_dict) if several else {'': self.best_ckpt_path}
        if several:
            self.best_ckpt_path_dict = dict.fromkeys(old)
        else:
            self.best_ckpt_path = None
        super()._save_best_checkpoint(runner, metrics)
        self._progress = {}
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
