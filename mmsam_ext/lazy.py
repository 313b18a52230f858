"""Packages whose public names are imported when they are first used, so that a part of one loads alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attribute_importer(package: str, files: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that imports the file in which a name is defined (PEP 562).

    Args:
        package: ``__name__`` of the package.
        files: Name of a file of the package -> public names that it defines.

    Example:
        >>> __getattr__ = attribute_importer(__name__, {'rle': ['decode_rle']})  # doctest: +SKIP
    """
    file_of = {name: file for file, names in files.items() for name in names}

    def get(name: str) -> Any:
        if name not in file_of:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(f'.{file_of[name]}', package), name)

    return get
