"""Make MMSegmentation 1.2 run on current PyTorch, setuptools and mmcv-lite. No other module deals with versions.

Importing :mod:`mmsam_ext` calls :func:`apply`. Each fix has a file of its own, checks whether it is needed before it
acts, and has no further effect when applied twice. The problems they solve:

========================  ====================================================================================
``mmcv_lite``             ``import mmseg.models`` fails where mmcv was installed without its compiled operators;
                          ``sigmoid_focal_loss`` has no CPU kernel
``package_resources``     setuptools 82 removed ``pkg_resources``, which mmengine imports
``collected_environment`` Python 3.12 has no ``distutils``, which mmengine imports before a training
``checkpoints``           since torch 2.6 only weights are loaded, which rejects every mmengine checkpoint; mmengine
                          executes ``meta['config']`` of a checkpoint
``cpu_distributed``       mmengine's distributed launchers and wrapper require a GPU
``amp``                   the error of mixed precision without a GPU does not say what to do
``resume``                ``--resume`` believes what the text file ``last_checkpoint`` says, and starts over where it is
                          missing, in a folder with checkpoints
``one_training``          two trainings in one work folder overwrite each other's files
``atomic_checkpoints``    sharded trainings, and stock checkpoint hooks, write checkpoints in place
``evaluators``            two metrics with a result of one name are an error; IoUMetric unites all prompt modes, and
                          leaves out labels beyond its classes
``pack_seg_inputs``       ``PackSegInputs`` silently drops the prompts of a sample
``package_configs``       mmengine finds configs by ``package::name`` in OpenMMLab's own packages only
``console``               mmengine fills the screen with its environment and warnings that nobody can act on
``sharded_training``      mmengine resumes a sharded training's optimizer by the arguments of torch 2.0
``foreign_settings``      MMSegmentation's scripts ask a config for `decode_head`; the AttributeError does not say why
                          it is missing
``deferred``              mmengine, mmseg and segment_anything import timm, scipy, torchvision and FSDP at their top
``settled_configs``       `param_scheduler` cannot follow `max_iters`, and the input size stands in several places
``mmpretrain_backbones``  ``train()`` and ``eval()`` of mmpretrain's backbones return None
========================  ====================================================================================
"""

from __future__ import annotations

import logging

from . import (
    amp,
    atomic_checkpoints,
    checkpoints,
    collected_environment,
    console,
    cpu_distributed,
    deferred,
    evaluators,
    foreign_settings,
    mmcv_lite,
    mmpretrain_backbones,
    one_training,
    pack_seg_inputs,
    package_configs,
    package_resources,
    resume,
    settled_configs,
    sharded_training,
)
from .deferred import deferred_imports

#: mmengine releases (major, minor) whose internals these fixes were written for.
MMENGINE_VERSIONS = ((0, 10),)


def apply() -> None:
    """Apply every fix that this machine needs. It is safe to call this more than once."""
    # These come first: without them mmseg and mmengine may not import at all.
    mmcv_lite.apply()
    mmpretrain_backbones.apply()

    import mmengine
    from mmengine.logging import print_log
    from mmengine.utils import digit_version

    package_resources.apply()
    deferred.apply()
    if digit_version(mmengine.__version__)[:2] not in MMENGINE_VERSIONS:
        print_log(
            f'mmengine {mmengine.__version__} is installed; mmsam_ext was written for 0.10.x. Its fixes for mmengine '
            '(safe loading of checkpoints, distributed runs on CPUs) are not applied. Run tools/check_env.py',
            logger='current',
            level=logging.WARNING,
        )
        return
    checkpoints.apply()
    collected_environment.apply()
    cpu_distributed.apply()
    amp.apply()
    resume.apply()
    one_training.apply()
    atomic_checkpoints.apply()
    sharded_training.apply()
    evaluators.apply()
    pack_seg_inputs.apply()
    package_configs.apply()
    console.apply()
    settled_configs.apply()
    foreign_settings.apply()


__all__ = ['MMENGINE_VERSIONS', 'apply', 'deferred_imports']
