"""Registration of checkpoint loaders by the scheme of a file name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmengine.runner import CheckpointLoader

Loader = TypeVar('Loader', bound=Callable[..., dict[str, Any]])


def register_scheme(prefixes: str | Sequence[str], force: bool = False) -> Callable[[Loader], Loader]:
    """Register a function as mmengine's loader of the file names that begin with one of `prefixes`.

    Args:
        prefixes: Regular expressions, matched at the beginning of a name.
        force: Whether to replace a loader that is registered for the same prefix.
    """

    def register(loader: Loader) -> Loader:
        CheckpointLoader.register_scheme(prefixes=prefixes, loader=loader, force=force)
        return loader

    return register
