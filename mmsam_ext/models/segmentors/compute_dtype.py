"""Compute parts of a model in another floating-point format than the one that stores their parameters."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from ..layers.bf16_units import has_bf16_units
from ..layers.checkpointing import call_with_cast

#: What ``test_cfg.compute_dtype`` and ``--dtype`` may be.
INFERENCE_DTYPES = {
    'auto': None,
    'fp32': torch.float32,
    'float32': torch.float32,
    'bf16': torch.bfloat16,
    'bfloat16': torch.bfloat16,
    'fp16': torch.float16,
    'float16': torch.float16,
}


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
    cast = {name: tensor.to(dtype) for name, tensor in tensors if tensor.is_floating_point() and tensor.dtype != dtype}
    # Without anything to cast it is called as it is, which threads that share a module can do, too.
    return call_with_cast(module, cast, args) if cast else module(*args)


@lru_cache
def inference_dtype(name: str | None, device: torch.device) -> torch.dtype | None:
    """Return the floating-point format to predict in; None for that of the weights.

    Args:
        name: A key of :data:`INFERENCE_DTYPES`, or None. 'auto' is bf16 where `device` computes it faster than fp32,
            and fp32 elsewhere.
        device: Where the model is.

    Raises:
        ValueError: The name is unknown, or the device cannot compute in this format.
    """
    if name is not None and name not in INFERENCE_DTYPES:
        raise ValueError(f'test_cfg.compute_dtype is {name!r}, expected one of {sorted(INFERENCE_DTYPES)}')
    if name == 'auto':
        return torch.bfloat16 if has_bf16_units(device) else None
    dtype = None if name is None else INFERENCE_DTYPES[name]
    if dtype == torch.float16 and device.type == 'cpu':
        raise ValueError(
            f'test_cfg.compute_dtype is {name!r} on the device {device}: fp16 is for GPUs; on a CPU use bf16, or auto'
        )
    if dtype == torch.bfloat16 and not has_bf16_units(device):
        problem = f'test_cfg.compute_dtype is {name!r}, and the device {device} has no units for bf16'
        if device.type == 'cuda':
            raise ValueError(f'{problem}; use fp16, fp32 or auto')
        if device.type == 'cpu':
            print_log(f'{problem}: it is computed, but slower than fp32; use auto', 'current', logging.WARNING)
    return None if dtype == torch.float32 else dtype


def store_in(parts: Iterable[tuple[nn.Module, torch.dtype | None]]) -> None:
    """Convert the weights of modules that only predict, in place, so that they are kept once; None leaves them."""
    for module, dtype in parts:
        if dtype is not None:
            module.to(dtype)
