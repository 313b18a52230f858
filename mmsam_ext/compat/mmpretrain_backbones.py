"""Let mmpretrain's backbones be imported beside transformers 5, and their ``train()`` and ``eval()`` return self."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import Any

from ._imports import around_import
from ._patch import replace

MODULE = 'mmpretrain.models.backbones.base_backbone'
DEPENDENCIES = 'mmpretrain.utils.dependency'
#: The first release of transformers without names that mmpretrain's multimodal models import.
TOO_NEW = 5


def apply() -> None:
    """Fix modules of mmpretrain when they are imported; to import them here would cost a second."""
    around_import(DEPENDENCIES, after=_leave_out_multimodal)
    around_import(MODULE, after=_fix)


def _leave_out_multimodal(module: ModuleType) -> None:
    """Let mmpretrain do without its multimodal models where they cannot be imported, as if transformers were missing.

    It imports them wherever pycocotools and any transformers from 4.28 on are installed, and with version 5 (the extra
    `text`) this stopped the import of all its models.
    """
    try:
        installed = metadata.version('transformers')
    except metadata.PackageNotFoundError:
        return
    if int(installed.split('.')[0]) >= TOO_NEW:
        module.WITH_MULTIMODAL = False  # pyright: ignore[reportAttributeAccessIssue]


def _fix(module: ModuleType) -> None:
    replace(module.BaseBackbone, 'train', _returning_self)


def _returning_self(stock: Callable) -> Callable:
    def train(self: Any, mode: bool = True) -> Any:
        stock(self, mode)
        return self

    return train
