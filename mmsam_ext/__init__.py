"""Promptable SAM, and its published improvements, as ordinary MMSegmentation models.

Import this package (``custom_imports = dict(imports=['mmsam_ext'])`` in a config) and its components are in MMSeg's
registries. It must be imported before ``mmseg.apis`` and ``mmseg.models``: :mod:`mmsam_ext.compat` lets them import on
current PyTorch, setuptools and mmcv-lite.
"""

import sys

__version__ = '0.1.0'


def register() -> None:
    """Import every component, so that it is in MMSeg's registries.

    Importing the package does this already, except in ``python -m mmsam_ext``, which must list its commands without
    loading PyTorch.
    """
    from . import compat

    with compat.deferred_imports():
        compat.apply()

        from . import checkpoints, datasets, engine, evaluation, models, structures, visualization  # noqa: F401


def _is_main_program() -> bool:
    """Return whether ``python -m mmsam_ext`` is starting: Python sets ``sys.argv[0]`` to '-m' while it looks for it."""
    return sys.argv[:1] == ['-m'] and ('-m', __name__) in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)


if not _is_main_program():
    register()

__all__ = [
    '__version__',
    'checkpoints',
    'compat',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'register',
    'structures',
    'visualization',
]
