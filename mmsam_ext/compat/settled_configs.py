"""Settings that hold for a whole config (see :mod:`mmsam_ext.config_settings`), in every tool that makes a Runner."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._patch import replace

if TYPE_CHECKING:
    from mmengine.config import Config


def apply() -> None:
    """Settle configs before ``Runner.from_cfg`` builds anything of them."""
    from mmengine.runner import Runner

    replace(Runner, 'from_cfg', _settled)


def _settled(stock: Callable) -> Callable:
    def from_cfg(cfg: Config) -> Any:
        """Build a Runner from a copy of the config in which its shares and its input size are applied."""
        from mmsam_ext.config_settings import settle

        return stock(settle(copy.deepcopy(cfg)))

    return from_cfg
