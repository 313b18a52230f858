"""Parts of a model computed in another floating-point format than their parameters are kept in."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call


def floating_dtype(name: str | None) -> torch.dtype | None:
    """The dtype called `name`, as 'bfloat16'; None stays None.

    Raises:
        ValueError: no floating-point dtype of PyTorch is called so.
    """
    dtype = None if name is None else getattr(torch, name, None)
    if name is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f'train_cfg.compute_dtype is {name!r}, expected a floating-point dtype such as bfloat16')
    return dtype


def call_in(module: nn.Module, dtype: torch.dtype | None, *args) -> Any:
    """`module(*args)` with its floating-point parameters and buffers cast to `dtype`; None: as it is.

    Unlike under autocast, activations stay in `dtype` from one end of the module to the other, which halves what is
    moved through memory; gradients reach the parameters in the parameters' own format.
    """
    if dtype is None:
        return module(*args)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return functional_call(module, {name: t.to(dtype) for name, t in tensors if t.is_floating_point()}, args)
