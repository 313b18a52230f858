"""From the name of a config to a model with weights."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from mmsam_ext.checkpoints.base import base_file
from mmsam_ext.checkpoints.loaders import CheckpointError
from mmsam_ext.config_files import PREFIX, known_configs, packaged_config, suggestion
from mmsam_ext.config_settings import settle
from mmsam_ext.datasets.transforms.load_image import trained_bit_depth
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.models.segmentors.compute_dtype import store_in

from .errors import InferenceError
from .model_names import NAMED_MODELS, named_config


def load_config(model: str | Path | Config) -> Config:
    """Find and read a config.

    Args:
        model: A short name of :data:`~mmsam_ext.apis.model_names.NAMED_MODELS` ('sam2.1_hiera_s'), a name or path, as
            :func:`config_path` takes it, or a Config.

    Raises:
        InferenceError: there is no such config (the message suggests the nearest names), it has no `model`, or a
            setting that holds for all of it is wrong (:func:`~mmsam_ext.config_settings.settle`).
    """
    if isinstance(model, str) and model in NAMED_MODELS:
        config = named_config(model)
    else:
        config = copy.deepcopy(model) if isinstance(model, Config) else _read(config_path(model))
    if not isinstance(config.get('model'), dict):
        raise InferenceError(
            f'{config.filename or "config"}: field `model` is {config.get("model")!r}, expected a dict'
        )
    try:
        return settle(config)
    except ValueError as error:
        raise InferenceError(f'{config.filename or "config"}: {error}') from error


def in_dtype(config: Config, dtype: str | None) -> Config:
    """Return a config whose model encodes in `dtype` ('fp32', 'bf16', 'fp16' or 'auto'); None leaves it as it is."""
    if dtype is not None:
        config.merge_from_dict({'model.test_cfg.compute_dtype': dtype})
    return config


def _read(path: Path) -> Config:
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is Python, which raises what it likes
        raise InferenceError(
            f'{path}: cannot be read as a config ({type(error).__name__}: {error}); expected an MMSegmentation config'
        ) from error


def config_path(model: str | Path) -> Path:
    """Return the file of a config.

    Args:
        model: Name of a config of this project ('sam_tiny_synthetic', also 'mmsam_ext::sam_tiny_synthetic.py'), or
            path of a config file.

    Raises:
        InferenceError: there is no such config; the message suggests the nearest names.
    """
    if not isinstance(model, (str, Path)):
        raise InferenceError(f'model is a {type(model).__name__}, expected the name or path of a config, or a Config')
    name = str(model)
    if name.startswith(PREFIX):
        try:
            return packaged_config(name)
        except FileNotFoundError as error:
            raise InferenceError(str(error)) from error
    path = known_configs().get(name, Path(os.path.expanduser(name)))
    if os.path.isfile(path):
        return path
    what = f'there is no config file {name!r}' if path.suffix == '.py' else f'unknown model name {name!r}'
    if path.suffix == '.py':
        raise InferenceError(f'{what}; {suggestion(path.stem)}')
    nearest = suggestion(name, list(NAMED_MODELS))
    raise InferenceError(f'{what}; {nearest}. Short names of models: {", ".join(NAMED_MODELS)}')


def load_model(
    config: Config, weights: str | Path | None = None, device: str | None = None, untrained: bool = False
) -> PromptableSegmentor:
    """Build the model of a config and load its weights, as ``tools/test.py`` does.

    Only tensors are taken from a checkpoint; a config inside of it (``meta['config']``) is code, and stays untouched.

    Args:
        config: A config with a field `model`.
        weights: Path or URL of a checkpoint, or 'mmsam_ext://NAME'; None: the one that ``model.init_cfg`` names.
        device: As for :class:`torch.device`; None: a GPU if there is one.
        untrained: Take weights that lack parts which this config adds to SAM and which training brings.

    Returns:
        The model in eval mode; its `dataset_meta` is that of the training set, with its `bit_depth`. With
        `test_cfg.compute_dtype` and `decoder_dtype`, encoder and decoder are stored in these formats.

    Raises:
        InferenceError: no weights, weights that cannot be loaded or lack trained parts, an unknown device, or another
            kind of model.
    """
    target = _device(device)
    init_default_scope(config.get('default_scope', 'mmseg'))
    settings = config.model.copy()
    if config.get('data_preprocessor') is not None:  # where MMSegmentation's own configs have it, as in Runner
        settings.setdefault('data_preprocessor', config.data_preprocessor)
    try:
        model = MODELS.build(settings)
    except KeyError as error:  # a component that does not exist; the registry's message names it
        raise InferenceError(f'{config.filename or "config"}: {error.args[0]}') from error
    if not isinstance(model, PromptableSegmentor):
        raise InferenceError(
            f'model.type is {config.model.type}, expected a PromptableSegmentor (MMSegInferencer is for others)'
        )
    weights = base_file(model) if weights is None else str(weights)
    named = config.get('named_model')
    if weights is None:
        if named is not None:
            raise InferenceError(
                f'{named}: no weights; give its published file, such as {NAMED_MODELS[named].file}, by --weights FILE '
                '(in Python weights=...)'
            )
        raise InferenceError(
            f'{config.filename or "config"}: no weights; its model has no init_cfg of type Pretrained with a '
            'checkpoint, so give weights=<path of a checkpoint>'
        )
    try:
        cast('Any', model).dataset_meta = _dataset_meta(load_checkpoint(model, weights, map_location='cpu'))
        if named is not None and weights == NAMED_MODELS[named].weights:
            model.test_cfg = {**NAMED_MODELS[named].prediction, **model.test_cfg}
        if untrained:
            model.test_cfg = {**model.test_cfg, 'untrained': True}
        model.check_trained()
    except (CheckpointError, FileNotFoundError) as error:  # their messages name the file
        raise InferenceError(str(error)) from error
    except ValueError as error:  # of another model
        raise InferenceError(f'{weights}: {error}') from error
    except Exception as error:  # loaders of URLs raise what they like
        raise InferenceError(
            f'{weights}: cannot be loaded ({type(error).__name__}: {error}); expected the path of a checkpoint, '
            'mmsam_ext://NAME, or a URL that can be reached'
        ) from error
    model.to(target).eval()
    try:
        store_in(model.computed_parts(target))
    except ValueError as error:
        raise InferenceError(str(error)) from error
    return model


def _dataset_meta(checkpoint: object) -> dict:
    """Return what a checkpoint says of its training set: its metainfo and, if it has one, its `bit_depth`."""
    if not isinstance(checkpoint, Mapping):
        return {}
    meta = checkpoint.get('meta')
    dataset_meta = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    known = dict(dataset_meta) if isinstance(dataset_meta, Mapping) else {}
    depth = trained_bit_depth(checkpoint)
    return known if depth is None else known | dict(bit_depth=depth)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(get_device() if name is None else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InferenceError(
            f'device {name!r} cannot be used ({str(error).splitlines()[0]}); expected cpu, cuda, cuda:1, ...'
        ) from error
    return device
