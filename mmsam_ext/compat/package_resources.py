"""Let mmengine look up packages without ``pkg_resources``, which setuptools 82 removed and Python 3.12 venvs lack."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os.path as osp
from collections.abc import Callable

from ._patch import replace


def apply() -> None:
    """Replace three functions of mmengine in every module that imported them, if ``pkg_resources`` is missing."""
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    import mmengine.config.config  # importing creates the references
    import mmengine.hub.hub
    import mmengine.utils.package_utils

    owners = [mmengine.utils.package_utils, mmengine.utils, mmengine.config.config, mmengine.hub.hub]
    for name, function in dict(
        is_installed=_is_installed, get_installed_path=_get_installed_path, package2module=_package2module
    ).items():
        for owner in owners:
            if hasattr(owner, name):
                replace(owner, name, lambda stock, function=function: _forward_to(function))


def _forward_to(function: Callable) -> Callable:
    # A new function for each owner, because `replace` stores the original function on it.
    return lambda package: function(package)


def _is_installed(package: str) -> bool:
    """Return whether a distribution or a module of this name is installed."""
    importlib.invalidate_caches()
    try:
        importlib.metadata.distribution(package)
        return True
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None


def _get_installed_path(package: str) -> str:
    """Return the folder of an installed package, given the name of its distribution or module.

    Raises:
        importlib.metadata.PackageNotFoundError: Nothing of this name is installed.
        RuntimeError: It is a namespace package, which has no single folder.
    """
    try:
        module = _package2module(package)
    except importlib.metadata.PackageNotFoundError:
        module = package
        if importlib.util.find_spec(package) is None:
            raise
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f'{package} has no folder: it is a namespace package, or module `{module}` is missing')
    return osp.dirname(spec.origin)


def _package2module(package: str) -> str:
    """Return the name of the module that a distribution installs, such as ``mmseg`` for ``mmsegmentation``.

    Raises:
        importlib.metadata.PackageNotFoundError: The distribution is not installed.
        ValueError: The distribution does not name its modules.
    """
    distribution = importlib.metadata.distribution(package)
    top_level = (distribution.read_text('top_level.txt') or '').split()
    if package in top_level or (not top_level and importlib.util.find_spec(package) is not None):
        return package
    if not top_level:
        raise ValueError(f'{package}: the distribution does not name its modules (no top_level.txt)')
    return top_level[0]
