"""Every caller in mmengine writes checkpoints atomically, such as the strategies of its FlexibleRunner (FSDP)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Let ``save_checkpoint`` write local files through a temporary name wherever its caller chose no backend."""
    import mmengine.runner
    from mmengine._strategy import deepspeed
    from mmengine.runner import checkpoint, runner

    for owner in (checkpoint, runner, mmengine.runner, deepspeed):
        replace(owner, 'save_checkpoint', _atomic)


def _atomic(stock: Callable) -> Callable:
    def save_checkpoint(
        checkpoint: dict, filename: str, file_client_args: Any = None, backend_args: dict | None = None
    ) -> None:
        from mmengine.fileio import LocalBackend, get_file_backend

        import mmsam_ext.engine.hooks  # noqa: F401 (registers the backend)

        local = '://' not in filename and type(get_file_backend(filename)) is LocalBackend
        if local and file_client_args is None and backend_args is None:
            backend_args = dict(backend='atomic_local')
        stock(checkpoint, filename, file_client_args, backend_args)

    return save_checkpoint
