"""Make the error of mixed precision without a GPU say what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Replace the error of ``AmpOptimWrapper`` on machines without a GPU by one that says what to do."""
    from mmengine.optim import AmpOptimWrapper

    replace(AmpOptimWrapper, '__init__', _with_advice)


def _with_advice(stock: Callable) -> Callable:
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        from mmengine.device import get_device

        if get_device() in ('cpu', 'mps'):
            raise RuntimeError(
                'AmpOptimWrapper (mixed precision, --amp) needs a GPU, and none is visible. To train in float32 on the '
                "CPU, leave out --amp or set optim_wrapper.type='OptimWrapper' in the config"
            )
        stock(self, *args, **kwargs)

    return construct
