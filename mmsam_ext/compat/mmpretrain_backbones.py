"""Make ``train()`` and ``eval()`` of mmpretrain's backbones, such as ``ViTSAM``, return self instead of None."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ._imports import around_import
from ._patch import replace

MODULE = 'mmpretrain.models.backbones.base_backbone'


def apply() -> None:
    """Fix the base class of mmpretrain's backbones when it is imported; to import it here would cost a second."""
    around_import(MODULE, after=_fix)


def _fix(module: ModuleType) -> None:
    replace(module.BaseBackbone, 'train', _returning_self)


def _returning_self(stock: Callable) -> Callable:
    def train(self: Any, mode: bool = True) -> Any:
        stock(self, mode)
        return self

    return train
