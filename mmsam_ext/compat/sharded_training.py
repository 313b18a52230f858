"""``--resume`` of a sharded training (FSDP) by mmengine's FlexibleRunner."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._imports import around_import
from ._patch import replace


def apply() -> None:
    """Pass an optimizer's state to torch by keyword: mmengine passes it in the order of arguments of torch 2.0."""
    around_import('mmengine._strategy.fsdp', after=_fix)


def _fix(module: ModuleType) -> None:
    replace(module.FSDPStrategy, 'load_optim_state_dict', _by_keyword)


def _by_keyword(stock: Callable) -> Callable:
    def load_optim_state_dict(self: Any, state_dict: dict) -> None:
        from torch.distributed.fsdp import FullyShardedDataParallel

        optimizer = self.optim_wrapper.optimizer
        shard = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(shard)

    return load_optim_state_dict
