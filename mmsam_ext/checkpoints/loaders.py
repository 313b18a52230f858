"""Checkpoint files: clear errors for bad ones, ``*.safetensors``, and weights that come with this package.

Registered as schemes of mmengine's ``CheckpointLoader``, so ``load_from``, ``init_cfg=dict(type='Pretrained')``,
``tools/test.py`` and the inferencers all go through them. :mod:`.remote` has those that download.
"""

from __future__ import annotations

import os.path as osp
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from mmsam_ext.nearest import did_you_mean

from .contents import ZIP_START, check_headers, checked_content, existing_file, file_kind
from .errors import EXPECTED, CheckpointError, shown
from .formats import dataset_meta
from .hugging_face import HUB, hub_folder, weight_files
from .schemes import register_scheme

ASSETS = Path(__file__).resolve().parents[1] / 'assets'
PACKAGED = 'mmsam_ext://'

__all__ = ['ASSETS', 'EXPECTED', 'PACKAGED', 'CheckpointError', 'asset_path', 'load_file']


# mmengine logs the name of a loader from its tenth character on: "Loads checkpoint by local backend from path".
@register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a file that ``torch.save`` wrote, with ``weights_only=True``, after a check of its headers.

    A folder is loaded as one that Hugging Face's ``save_pretrained`` wrote.

    Args:
        filename: Path of the file or folder; ``~`` is expanded.
        map_location: As for :func:`torch.load`.

    Returns:
        The checkpoint; of a file that is a plain state dict, that under ``state_dict`` beside an empty ``meta``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is truncated, not a checkpoint, holds something that would run code, or would take far more
            memory than its size.
    """
    if osp.isdir(folder := osp.expanduser(str(filename))):
        return load_folder(folder, map_location)
    path = existing_file(filename)
    try:
        check_headers(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises some ten kinds for broken files
        raise CheckpointError(f'{shown(path)}: {_why(path, error)}; {EXPECTED}') from error
    return checked_content(path, checkpoint)


# The look-ahead keeps URLs (https://, s3://) with their own loaders.
@register_scheme(prefixes=r'(?!\S+://).*\.safetensors$')
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

    path = existing_file(filename)
    device = str(map_location) if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        with safe_open(path, framework='pt', device=device) as file:
            state_dict = OrderedDict((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118 (not a dict)
            meta = dict(file.metadata() or {})
    except Exception as error:
        raise CheckpointError(
            f'{shown(path)}: truncated, or not a safetensors file ({osp.getsize(path)} bytes; {_first_line(error)}); '
            f'{EXPECTED}'
        ) from error
    if not state_dict:
        raise CheckpointError(f'{shown(path)}: no weights in it; {EXPECTED}')
    return dict(state_dict=state_dict, meta={**dataset_meta(state_dict), **meta})


def load_folder(folder: str, map_location: Any = None) -> dict[str, Any]:
    """Load all weights in a folder that Hugging Face's ``save_pretrained`` wrote.

    Args:
        folder: The folder.
        map_location: As for :func:`load_from_safetensors`.

    Returns:
        dict with ``state_dict`` and ``meta``.

    Raises:
        CheckpointError: As :func:`weight_files`, or a file is truncated.
    """
    parts = [load_from_safetensors(path, map_location) for path in weight_files(folder)]
    state_dict = {key: value for part in parts for key, value in part['state_dict'].items()}
    return dict(state_dict=state_dict, meta={**dataset_meta(state_dict), **parts[0]['meta']})


@register_scheme(prefixes=HUB)
def load_from_hugging_face(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load ``hf://owner/name``; arguments and errors are those of :func:`hub_folder` and :func:`load_folder`."""
    return load_folder(hub_folder(filename), map_location)


@register_scheme(prefixes=PACKAGED)
def load_from_mmsam_ext(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights that come with this package: ``mmsam_ext://NAME`` is ``mmsam_ext/assets/NAME.safetensors``.

    Raises:
        CheckpointError: the package has no weights of this name; the message suggests the nearest names.
    """
    return load_from_safetensors(asset_path(filename), map_location)


def load_file(path: str, map_location: Any = None) -> dict[str, Any]:
    """Load a local file of either format, whatever its name ends in; arguments and errors are those of the loaders."""
    safe = file_kind(existing_file(path)) == 'safetensors'
    return (load_from_safetensors if safe else load_from_local)(path, map_location)


def asset_path(filename: str) -> str:
    """Return the file behind ``mmsam_ext://NAME``.

    Raises:
        CheckpointError: as :func:`load_from_mmsam_ext`.
    """
    name = filename.removeprefix(PACKAGED)
    names = sorted(path.stem for path in ASSETS.glob('*.safetensors'))
    if name not in names:
        raise CheckpointError(f'{shown(filename)}: no such weights in this package; {did_you_mean(name, names)}')
    return str(ASSETS / f'{name}.safetensors')


def _why(path: str, error: Exception) -> str:
    """Say what is wrong with a file, from its first bytes and the error of ``torch.load``."""
    size = osp.getsize(path)
    with open(path, 'rb') as file:
        start = file.read(4)
    if size == 0:
        return 'is empty (0 bytes)'
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) and ('GLOBAL' in text or 'allowed while a checkpoint' in text):
        return f'rejected, because loading it would run code that is not on the list of safe types: {_reason(text)}'
    if isinstance(error, ValueError) and 'allowed while a checkpoint' in text:
        return f'rejected: {text}'
    if start == ZIP_START:  # the zip container that torch.save writes; its table of contents is at the end
        return f'is truncated or damaged ({size} bytes; {_first_line(error)})'
    return f'is not a checkpoint, or is truncated (starts with {start!r}, {size} bytes; {type(error).__name__})'


def _reason(text: str) -> str:
    """Return the line of torch's long message that names the rejected type."""
    lines = [line.strip() for line in text.splitlines() if 'GLOBAL' in line or 'allowed while' in line]
    return lines[0].split('WeightsUnpickler error: ')[-1].split(' was not an allowed global')[0] if lines else text


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
