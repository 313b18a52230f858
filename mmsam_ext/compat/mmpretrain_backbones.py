"""Make ``train()`` and ``eval()`` of mmpretrain's backbones, such as ``ViTSAM``, return self instead of None."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ._patch import replace

MODULE = 'mmpretrain.models.backbones.base_backbone'


class _FixAfterImport(MetaPathFinder):
    """Fix :data:`MODULE` when it is imported; importing mmpretrain here would cost every user a second."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        stock_exec = spec.loader.exec_module

        def exec_and_fix(module: ModuleType) -> None:
            stock_exec(module)
            _fix(module)

        spec.loader.exec_module = exec_and_fix
        return spec


def apply() -> None:
    """Fix the base class of mmpretrain's backbones, now or as soon as it is imported."""
    if MODULE in sys.modules:
        _fix(sys.modules[MODULE])
    elif not any(isinstance(finder, _FixAfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FixAfterImport())


def _fix(module: ModuleType) -> None:
    replace(module.BaseBackbone, 'train', _returning_self)


def _returning_self(stock: Callable) -> Callable:
    def train(self: Any, mode: bool = True) -> Any:
        stock(self, mode)
        return self

    return train
