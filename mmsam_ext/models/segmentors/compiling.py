"""``torch.compile`` of the parts of a segmentor that take its time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

#: C++ compilers that PyTorch's default backend looks for; the environment variable CXX comes first.
COMPILERS = ('g++', 'clang++', 'cl')


def compile_parts(
    parts: Iterable[nn.Module], options: bool | dict[str, Any], compute_dtype: torch.dtype | None = None
) -> None:
    """Compile modules in place, at their first call; parameters keep their names.

    Args:
        parts: The modules.
        options: False for nothing, True for PyTorch's defaults, or arguments of ``torch.compile``.
        compute_dtype: `train_cfg.compute_dtype`, which casts weights at each call and cannot be compiled.

    Raises:
        ValueError: `options` is something else, there is a `compute_dtype`, or PyTorch's default backend finds no C++
            compiler.
    """
    if options is False:
        return
    if not isinstance(options, (bool, dict)):
        raise ValueError(f'torch_compile={options!r}, expected True, False, or arguments of torch.compile as a dict')
    if compute_dtype is not None:
        raise ValueError(
            f'torch_compile={options!r} with train_cfg.compute_dtype {compute_dtype}, which casts the weights at each '
            'call, so that everything would be compiled anew each time; use one of the two'
        )
    settings = {} if options is True else dict(options)
    if settings.get('backend', 'inductor') == 'inductor' and not _has_compiler():
        raise ValueError(
            f'torch_compile={options!r}: there is no C++ compiler (CXX={os.environ.get("CXX")!r}, {COMPILERS}), which '
            "PyTorch's inductor needs; install one, or leave torch_compile out"
        )
    for part in parts:
        part.compile(**settings)


def _has_compiler() -> bool:
    named = os.environ.get('CXX')
    if named:
        return shutil.which(named) is not None
    return torch.cuda.is_available() or any(shutil.which(name) for name in COMPILERS)
