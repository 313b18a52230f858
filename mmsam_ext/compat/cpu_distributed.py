"""Allow distributed runs on machines without a GPU: use gloo instead of nccl, and no device ids."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

from ._imports import around_import
from ._patch import replace


def apply() -> None:
    """Fix mmengine's three launchers and its two wrappers; with a GPU their behaviour does not change."""
    from mmengine.dist import utils
    from mmengine.model import MMDistributedDataParallel

    for launcher in ('_init_dist_pytorch', '_init_dist_slurm', '_init_dist_mpi'):
        replace(utils, launcher, _launch_without_gpu)
    replace(MMDistributedDataParallel, '__init__', _wrap_without_gpu)
    around_import('mmengine.model.wrappers.fully_sharded_distributed', after=_fix_wrapper)
    around_import('mmengine._strategy.fsdp', after=_fix_strategy)


def _fix_wrapper(module: ModuleType) -> None:
    replace(module.MMFullyShardedDataParallel, '__init__', _shard_without_gpu)


def _fix_strategy(module: ModuleType) -> None:
    replace(module.FSDPStrategy, '_init_state_dict_cfg', _nothing_to_offload)


def _has_accelerator() -> bool:
    from mmengine.device import get_device

    return get_device() not in ('cpu', 'mps')


def _launch_without_gpu(stock: Callable) -> Callable:
    def init_dist(backend: str, *args: Any, **kwargs: Any) -> None:
        if _has_accelerator():
            stock(backend, *args, **kwargs)
            return
        if backend == 'nccl':
            from mmengine.logging import print_log

            print_log(
                'no GPU found: using the distributed backend gloo instead of nccl',
                logger='current',
                level=logging.WARNING,
            )
            backend = 'gloo'
        # mmengine selects a CUDA device for any backend; without a GPU that call fails.
        with patch.object(torch.cuda, 'set_device', lambda device: None):
            stock(backend, *args, **kwargs)
        atexit.register(_leave_process_group)

    return init_dist


def _leave_process_group() -> None:
    """Leave the process group, and give gloo's threads the time to release the tensors of their last collective.

    A thread needs Python's lock for that. If the interpreter is ending by then, Python ends the thread, C++ aborts the
    process ("terminate called without an active exception", exit code -6), and the launcher reports a failed run. A
    group without references ends its threads by itself, but torch's DistributedDataParallel keeps one for ever.
    """
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(0.2)  # which releases the lock; the threads wait for nothing else


def _wrap_without_gpu(stock: Callable) -> Callable:
    def construct(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        if not _has_accelerator():
            kwargs.pop('device_ids', None)  # the Runner passes [LOCAL_RANK], which torch rejects for modules on the CPU
        stock(self, module, *args, **kwargs)

    return construct


def _shard_without_gpu(stock: Callable) -> Callable:
    def construct(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        if not _has_accelerator():
            kwargs['device_id'] = torch.device('cpu')  # the strategy passes LOCAL_RANK, which torch takes for a GPU
        stock(self, module, *args, **kwargs)

    return construct


def _nothing_to_offload(stock: Callable) -> Callable:
    def init_state_dict_cfg(self: Any, state_dict_cfg: str | dict) -> None:
        stock(self, state_dict_cfg)
        if not _has_accelerator():  # torch would free the weights before it copies them
            for config in (self.state_dict_config, self.optim_state_dict_config):
                if hasattr(config, 'offload_to_cpu'):
                    config.offload_to_cpu = False

    return init_state_dict_cfg
