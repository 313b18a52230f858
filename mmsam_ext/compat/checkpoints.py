"""mmengine's checkpoints under ``torch.load(weights_only=True)``, without opening a door to code in a checkpoint."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ._patch import replace

#: The only attributes that a HistoryBuffer pickles through ``getattr``.
HISTORY_METHODS = ('min', 'max', 'current', 'mean')
SCALARS = ('Bool', 'Int8', 'Int16', 'Int32', 'Int64', 'UInt8', 'Float16', 'Float32', 'Float64')


def apply() -> None:
    """Allow what an mmengine checkpoint holds, and never execute the config inside one.

    ``weights_only`` stays on (the default since torch 2.6).
    """
    from mmengine.infer.infer import BaseInferencer
    from mmengine.runner.checkpoint import CheckpointLoader

    torch.serialization.add_safe_globals(_safe_globals())
    replace(CheckpointLoader, 'load_checkpoint', _without_meta_config)
    replace(BaseInferencer, '_init_model', _refuse_config_in_checkpoint)


def _safe_globals() -> list[Any]:
    from mmengine.logging import HistoryBuffer

    multiarray = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    functions = {name: getattr(multiarray, name) for name in ('_reconstruct', 'scalar')}  # numpy 2, numpy 1
    dtypes = [type(np.dtype(name.lower())) for name in SCALARS]  # numpy.dtypes.Float64DType and so on
    # A checkpoint carries the module names of the numpy that wrote it: allow both, whichever is installed here.
    both = [(function, f'numpy.{core}.multiarray.{name}') for name, function in functions.items() for core in CORES]
    return [HistoryBuffer, np.ndarray, np.dtype, *dtypes, *both, (getattr_of_history_buffer, 'builtins.getattr')]


CORES = ('core', '_core')


def getattr_of_history_buffer(owner: object, name: str, *default: object) -> Callable:
    """Stands in for ``getattr`` while a checkpoint is read.

    A HistoryBuffer pickles its methods as ``getattr(HistoryBuffer, 'mean')``. The real ``getattr`` must never be
    allowed: with it a weights-only load installed ``os.system`` as a method (tried).

    Raises:
        ValueError: anything but one of the four methods of HistoryBuffer is asked for.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in HISTORY_METHODS or default:
        raise ValueError(
            f'the checkpoint asks for attribute {name!r} of {owner!r}; only {list(HISTORY_METHODS)} of HistoryBuffer '
            'are allowed while a checkpoint is loaded'
        )
    return getattr(HistoryBuffer, name)


def _without_meta_config(stock: Callable) -> Callable:
    def load_checkpoint(filename: str, map_location: Any = None, logger: Any = 'current') -> Any:
        checkpoint = stock(filename, map_location, logger)
        meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
        # Runner.resume() executes this key as Python. mmengine 0.10 writes `cfg`, which nothing executes, in its place.
        if isinstance(meta, dict) and meta.pop('config', None) is not None:
            _log(f"{filename}: `meta['config']` is left out; a config inside a checkpoint is code and is not executed")
        return checkpoint

    return load_checkpoint


def _refuse_config_in_checkpoint(stock: Callable) -> Callable:
    def _init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> torch.nn.Module:
        if not cfg:
            raise ValueError(
                f'no config was given for {weights}. mmengine would execute the config stored inside the checkpoint, '
                'which is code from whoever made the file. Give the config itself: model=<path of the config file>. '
                'The Runner left a copy of it in the work_dir beside the checkpoint'
            )
        return stock(self, cfg, weights, device)

    return _init_model


def _log(message: str) -> None:
    import logging

    from mmengine.logging import print_log

    print_log(message, logger='current', level=logging.WARNING)
