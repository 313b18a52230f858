"""Load mmengine's checkpoints with ``torch.load(weights_only=True)``, without letting a checkpoint run code."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._patch import replace

#: The only attributes that a pickled HistoryBuffer looks up with ``getattr``.
HISTORY_METHODS = ('min', 'max', 'current', 'mean')
SCALARS = ('Bool', 'Int8', 'Int16', 'Int32', 'Int64', 'UInt8', 'Float16', 'Float32', 'Float64')


def apply() -> None:
    """Allow the types that an mmengine checkpoint contains, and never execute the config inside one.

    ``weights_only`` stays on, which is the default since torch 2.6.
    """
    from mmengine.infer.infer import BaseInferencer
    from mmengine.runner.checkpoint import CheckpointLoader

    torch.serialization.add_safe_globals(_safe_globals())
    replace(CheckpointLoader, 'load_checkpoint', _without_meta_config)
    replace(BaseInferencer, '_init_model', _require_config)


def _safe_globals() -> list[Any]:
    from mmengine.logging import HistoryBuffer

    multiarray = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    functions = {name: getattr(multiarray, name) for name in ('_reconstruct', 'scalar')}  # numpy 2, numpy 1
    dtypes = [type(np.dtype(name.lower())) for name in SCALARS]  # numpy.dtypes.Float64DType and so on
    # A checkpoint contains the module names of the numpy version that wrote it, so both are allowed.
    both = [(function, f'numpy.{core}.multiarray.{name}') for name, function in functions.items() for core in CORES]
    return [HistoryBuffer, np.ndarray, np.dtype, *dtypes, *both, (getattr_of_history_buffer, 'builtins.getattr')]


CORES = ('core', '_core')


def getattr_of_history_buffer(owner: object, name: str, *default: object) -> Callable:
    """Replace ``getattr`` while a checkpoint is read; return one of four methods of HistoryBuffer.

    A HistoryBuffer pickles its methods as ``getattr(HistoryBuffer, 'mean')``. The real ``getattr`` must never be
    allowed: in an experiment, a checkpoint used it to install ``os.system`` as a method in a weights-only load.

    Raises:
        ValueError: `owner` is not HistoryBuffer, or `name` is not one of the four methods.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in HISTORY_METHODS or default:
        raise ValueError(
            f'the checkpoint tries to read attribute {name!r} of {owner!r}; while a checkpoint is loaded, only '
            f'{list(HISTORY_METHODS)} of HistoryBuffer may be read. Do not use this file unless you trust its source'
        )
    return getattr(HistoryBuffer, name)


def _without_meta_config(stock: Callable) -> Callable:
    def load_checkpoint(filename: str, map_location: Any = None, logger: Any = 'current') -> Any:
        checkpoint = stock(filename, map_location, logger)
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        # Runner.resume() executes this key as Python. mmengine 0.10 writes the config to `cfg`, which is not executed.
        if isinstance(meta, dict) and meta.pop('config', None) is not None:
            _log(f"{filename}: ignored `meta['config']`: a config inside a checkpoint is code, which is not executed")
        return checkpoint

    return load_checkpoint


def _require_config(stock: Callable) -> Callable:
    def _init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> torch.nn.Module:
        if not cfg:
            raise ValueError(
                f'no config was given for {weights}. mmengine would execute the config stored in the checkpoint, which '
                'is code written by whoever made the file. Pass the config instead: model=<path of the config file>. '
                'Training leaves a copy of it in the work_dir, beside the checkpoint'
            )
        return stock(self, cfg, weights, device)

    return _init_model


def _log(message: str) -> None:
    import logging

    from mmengine.logging import print_log

    print_log(message, logger='current', level=logging.WARNING)
