"""mmengine's package look-ups without ``pkg_resources``, which setuptools 82 removed (and Python 3.12 venvs lack)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os.path as osp
from collections.abc import Callable

from ._patch import replace


def apply() -> None:
    """Replace three functions of mmengine, wherever it holds references to them, if ``pkg_resources`` is missing."""
    if importlib.util.find_spec('pkg_resources') is not None:
        return
    import mmengine.config.config  # the references exist once it is imported
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
    # A new function for every owner, because `replace` writes the marks of each stock function on it.
    return lambda package: function(package)


def _is_installed(package: str) -> bool:
    """Whether a distribution or a module of this name is installed."""
    importlib.invalidate_caches()
    try:
        importlib.metadata.distribution(package)
        return True
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None


def _get_installed_path(package: str) -> str:
    """Folder of an installed package, by the name of its distribution or of its module.

    Raises:
        importlib.metadata.PackageNotFoundError: nothing of this name is installed.
        RuntimeError: it is a namespace package, which has no one folder.
    """
    try:
        module = _package2module(package)
    except importlib.metadata.PackageNotFoundError:
        module = package
        if importlib.util.find_spec(package) is None:
            raise
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f'{package} is a namespace package or has no module `{module}`; it has no installed path')
    return osp.dirname(spec.origin)


def _package2module(package: str) -> str:
    """Name of the module that a distribution installs, as ``mmseg`` for ``mmsegmentation``.

    Raises:
        importlib.metadata.PackageNotFoundError: no such distribution.
        ValueError: the distribution does not say.
    """
    distribution = importlib.metadata.distribution(package)
    top_level = (distribution.read_text('top_level.txt') or '').split()
    if package in top_level or (not top_level and importlib.util.find_spec(package) is not None):
        return package
    if not top_level:
        raise ValueError(f'can not infer the module name of {package}')
    return top_level[0]
