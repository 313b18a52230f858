"""Promptable SAM, and its published improvements, as ordinary MMSegmentation models.

Import this package (``custom_imports = dict(imports=['mmsam_ext'])`` in a config) and its components are in MMSeg's
registries. It must be imported before ``mmseg.apis`` and ``mmseg.models``: :mod:`mmsam_ext.compat` lets them import on
current PyTorch, setuptools and mmcv-lite.
"""

from . import compat

compat.apply()

from . import checkpoints, datasets, engine, evaluation, models, structures, visualization  # noqa: E402

__version__ = '0.1.0'

__all__ = [
    '__version__',
    'checkpoints',
    'compat',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'structures',
    'visualization',
]
