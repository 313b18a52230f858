"""``train()`` and ``eval()`` of mmpretrain's backbones (``ViTSAM`` among them) return None; they must return self."""

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


class _MendAfterImport(MetaPathFinder):
    """Mends :data:`MODULE` when somebody imports it: importing mmpretrain here would cost every user a second."""

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

        def exec_and_mend(module: ModuleType) -> None:
            stock_exec(module)
            _mend(module)

        spec.loader.exec_module = exec_and_mend
        return spec


def apply() -> None:
    """Mend the base class of mmpretrain's backbones, now or as soon as it is imported."""
    if MODULE in sys.modules:
        _mend(sys.modules[MODULE])
    elif not any(isinstance(finder, _MendAfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MendAfterImport())


def _mend(module: ModuleType) -> None:
    replace(module.BaseBackbone, 'train', _returning_self)


def _returning_self(stock: Callable) -> Callable:
    def train(self: Any, mode: bool = True) -> Any:
        stock(self, mode)
        return self

    return train
