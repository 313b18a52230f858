"""`BroadcastBuffersHook`: all ranks validate the same model."""

from __future__ import annotations

from mmengine.dist import broadcast, is_distributed
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Give every rank the buffers of rank 0 before each validation; without several ranks, do nothing.

    Running statistics of batch normalisation are buffers. Each rank collects its own from its share of the data, and
    rank 0 writes its own to the checkpoint. Without this hook, the other ranks validate a slightly different model.
    MMEngine's SyncBuffersHook averages over ranks instead: it validates a model that no checkpoint holds, and with
    three ranks it rounds buffers that never change, such as position codes.
    """

    def before_val_epoch(self, runner: Runner) -> None:
        """Copy the buffers of rank 0."""
        if is_distributed():
            for buffer in runner.model.buffers():
                broadcast(buffer, src=0)
