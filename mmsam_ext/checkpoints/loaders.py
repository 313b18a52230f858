"""Checkpoint files: clear errors for bad ones, ``*.safetensors``, and weights that come with this package.

Registered as schemes of mmengine's ``CheckpointLoader``, so ``load_from``, ``init_cfg=dict(type='Pretrained')``,
``tools/test.py`` and the inferencers all go through them.
"""

from __future__ import annotations

import os.path as osp
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import CheckpointLoader

ASSETS = Path(__file__).resolve().parents[1] / 'assets'
PACKAGED = 'mmsam_ext://'
EXPECTED = 'expected a state dict or an mmengine checkpoint written by torch.save, or a .safetensors file'


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used. The message names the file, what was found and what was expected."""


# mmengine logs the name of a loader from its tenth character on: "Loads checkpoint by local backend from path".
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a file that ``torch.save`` wrote, with ``weights_only=True``.

    Args:
        filename: Path of the file; ``~`` is expanded.
        map_location: As for :func:`torch.load`.

    Returns:
        The checkpoint; of a file that is a plain state dict, that under ``state_dict`` beside an empty ``meta``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated, not a checkpoint, or holds something that would run code.
    """
    path = _existing(filename)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch.load raises some ten kinds for broken files
        raise CheckpointError(f'{path}: {_why(path, error)}; {EXPECTED}') from error
    if not _holds_tensors(checkpoint):
        found = sorted(map(str, checkpoint))[:5] if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise CheckpointError(f'{path}: no weights in it (found {found}); {EXPECTED}')
    # mmengine's EMAHook and MMSeg's inferencer want both keys, which a plain state dict (Meta's files) does not have.
    # (RandomStateHook's tensor lies beside the state_dict of our own checkpoints.)
    flat = 'state_dict' not in checkpoint and any(isinstance(value, torch.Tensor) for value in checkpoint.values())
    return dict(state_dict=checkpoint, meta={}) if flat else checkpoint


# The look-ahead keeps URLs (https://, s3://) with their own loaders.
@CheckpointLoader.register_scheme(prefixes=r'(?!\S+://).*\.safetensors$')
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a ``*.safetensors`` file, which cannot hold code.

    Args:
        filename: Path of the file; ``~`` is expanded.
        map_location: A device (or its name); a callable, as torch.load takes it, means CPU.

    Returns:
        dict with ``state_dict`` and ``meta``, the file's own metadata (text by text).

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated or not a safetensors file.
    """
    from safetensors import safe_open

    path = _existing(filename)
    device = str(map_location) if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        with safe_open(path, framework='pt', device=device) as file:
            state_dict = OrderedDict((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118 (not a dict)
            meta = dict(file.metadata() or {})
    except Exception as error:
        raise CheckpointError(
            f'{path}: truncated, or not a safetensors file ({osp.getsize(path)} bytes; {_first_line(error)}); '
            f'{EXPECTED}'
        ) from error
    if not state_dict:
        raise CheckpointError(f'{path}: no weights in it; {EXPECTED}')
    return dict(state_dict=state_dict, meta=meta)


@CheckpointLoader.register_scheme(prefixes=PACKAGED)
def load_from_mmsam_ext(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights that come with this package: ``mmsam_ext://NAME`` is ``mmsam_ext/assets/NAME.safetensors``.

    Raises:
        CheckpointError: the package has no weights of this name; the message lists those it has.
    """
    return load_from_safetensors(asset_path(filename), map_location)


def asset_path(filename: str) -> str:
    """The file behind ``mmsam_ext://NAME``.

    Raises:
        CheckpointError: as :func:`load_from_mmsam_ext`.
    """
    name = filename.removeprefix(PACKAGED)
    names = sorted(path.stem for path in ASSETS.glob('*.safetensors'))
    if name not in names:
        raise CheckpointError(f'{filename}: no such weights in this package; expected one of {names}')
    return str(ASSETS / f'{name}.safetensors')


def _existing(filename: str) -> str:
    path = osp.expanduser(filename)
    if osp.isdir(path):
        raise CheckpointError(f'{path}: is a folder; {EXPECTED}')
    if not osp.isfile(path):
        raise FileNotFoundError(f'checkpoint {path} (in full {osp.abspath(path)}) can not be found')
    return path


def _holds_tensors(checkpoint: Any) -> bool:
    """Whether a tensor is in the dict itself or in a dict in it (``state_dict``, ``model``, ``teacher``, ...)."""
    if not isinstance(checkpoint, Mapping):
        return False
    inner = [value for value in checkpoint.values() if isinstance(value, Mapping)]
    return any(isinstance(value, torch.Tensor) for mapping in (checkpoint, *inner) for value in mapping.values())


def _why(path: str, error: Exception) -> str:
    """What is wrong with a file, from its first bytes and the error of ``torch.load``."""
    size = osp.getsize(path)
    with open(path, 'rb') as file:
        start = file.read(4)
    if size == 0:
        return 'is empty (0 bytes)'
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and ('GLOBAL' in text or 'allowed while a checkpoint' in text):
        return f'refused, because loading it would run code that is not on the list of safe types: {_reason(text)}'
    if isinstance(error, ValueError) and 'allowed while a checkpoint' in text:
        return f'refused: {text}'
    if start == b'PK\x03\x04':  # the zip container that torch.save writes; its table of contents is at the end
        return f'is truncated or damaged ({size} bytes; {_first_line(error)})'
    return f'is not a checkpoint, or is truncated (starts with {start!r}, {size} bytes; {type(error).__name__})'


def _reason(text: str) -> str:
    """The line of torch's long message that names the refused type."""
    lines = [line.strip() for line in text.splitlines() if 'GLOBAL' in line or 'allowed while' in line]
    return lines[0].split('WeightsUnpickler error: ')[-1].split(' was not an allowed global')[0] if lines else text


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
