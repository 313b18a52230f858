"""Compute parts of a model in another floating-point format than the one that stores their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call


def floating_dtype(name: str | None) -> torch.dtype | None:
    """Return the floating-point dtype with this name, such as 'bfloat16'; None for None.

    Raises:
        ValueError: PyTorch has no floating-point dtype with this name.
    """
    dtype = None if name is None else getattr(torch, name, None)
    if name is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f'train_cfg.compute_dtype is {name!r}, expected a floating-point dtype such as bfloat16')
    return dtype


def call_in(module: nn.Module, dtype: torch.dtype | None, *args: Any) -> Any:
    """Call a module with its floating-point parameters and buffers cast to `dtype`; None calls it as it is.

    Unlike under autocast, activations stay in `dtype` from one end of the module to the other, which halves the memory
    traffic. Gradients reach the parameters in the parameters' own format.
    """
    if dtype is None:
        return module(*args)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    cast = {name: tensor.to(dtype) for name, tensor in tensors if tensor.is_floating_point()}
    return functional_call(module, cast, args)
