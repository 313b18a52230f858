"""The environment that a Runner logs is collected without ``distutils``, which left Python with version 3.12."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

from ._patch import replace


def apply() -> None:
    """Stand in for ``distutils.errors`` while mmengine collects the environment, where no setuptools brings it."""
    if importlib.util.find_spec('distutils') is not None:
        return
    import mmengine.runner  # noqa: F401 (importing creates the references)
    from mmengine.utils.dl_utils import collect_env as stock

    for name, module in list(sys.modules.items()):
        if name.startswith('mmengine') and getattr(module, 'collect_env', None) is stock:
            replace(module, 'collect_env', _without_distutils)


def _without_distutils(stock: Callable) -> Callable:
    def collect_env() -> Any:
        distutils, errors = types.ModuleType('distutils'), types.ModuleType('distutils.errors')
        errors.DistutilsPlatformError = type('DistutilsPlatformError', (Exception,), {})  # type: ignore[attr-defined]
        distutils.errors = errors  # type: ignore[attr-defined]
        modules = {'distutils': distutils, 'distutils.errors': errors}
        sys.modules.update(modules)
        try:
            return stock()
        finally:  # these two alone: what was imported meanwhile stays
            for name in modules:
                sys.modules.pop(name, None)

    return collect_env
