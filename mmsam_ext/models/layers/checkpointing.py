"""Gradient checkpointing of modules whose weights may be cast for one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils.checkpoint import checkpoint

#: Whether the weights of the module that is being called are cast for this call only.
_CAST: ContextVar[bool] = ContextVar('cast', default=False)


@contextmanager
def _casting() -> Iterator[None]:
    token = _CAST.set(True)
    try:
        yield
    finally:
        _CAST.reset(token)


def call_with_cast(module: nn.Module, cast: Mapping[str, Tensor], args: tuple) -> Any:
    """Call a module with other tensors, by name, in place of its own parameters and buffers."""
    with _casting():
        return functional_call(module, dict(cast), args)


def checkpointed(module: nn.Module, function: Callable, *args: Any) -> Any:
    """Call a function and keep no activations: the backward pass computes them again.

    The backward pass comes when weights that :func:`call_with_cast` put in place are gone, so it puts them in place
    again.

    Args:
        module: Whose weights `function` uses.
        function: The module itself, or a method of it.
        args: Arguments of `function`.
    """
    if torch.compiler.is_compiling() or not _CAST.get():  # the compiler cannot trace the latter, and knows no casts
        return checkpoint(function, *args, use_reentrant=False)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    return checkpoint(
        function, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _WithTensors(module, tensors))
    )


class _WithTensors:
    """Put tensors in place of a module's; a backward pass with ``retain_graph`` may do so more than once."""

    def __init__(self, module: nn.Module, tensors: dict[str, Tensor]) -> None:
        self.module, self.tensors = module, tensors
        self.entered: list[AbstractContextManager] = []

    def __enter__(self) -> None:
        self.entered.append(_reparametrize_module(self.module, self.tensors))
        self.entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self.entered.pop().__exit__(*error)
