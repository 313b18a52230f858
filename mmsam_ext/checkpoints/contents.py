"""What a checkpoint file claims to hold, checked by its headers before anything is loaded."""

from __future__ import annotations

import io
import os
import os.path as osp
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from .errors import EXPECTED, CheckpointError, shown
from .formats import dataset_meta, unwrap
from .pickle_scan import ALWAYS_ALLOWED, scan_pickle

ZIP_START = b'PK\x03\x04'
#: Pickles of torch's format before version 1.6: magic number, protocol, system, the object, keys of its storages.
LEGACY_PICKLES = 5
#: Bytes of the longest header that safetensors allows.
LONGEST_HEADER = 100_000_000

SPECIAL = {
    stat.S_IFIFO: 'a named pipe',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
    stat.S_IFSOCK: 'a socket',
}


def existing_file(filename: str) -> str:
    """Return the path of a regular file, with ``~`` expanded.

    Raises:
        FileNotFoundError: nothing is there.
        CheckpointError: it is a folder, a device, a named pipe, or no path at all.
    """
    scheme, separator, _ = str(filename).partition('://')
    if separator and '/' not in scheme:
        raise CheckpointError(
            f'{shown(filename)}: {scheme}:// is not a known scheme; expected a path, http:// or https://'
        )
    try:
        path = osp.expanduser(filename)
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # a NUL character, or too long a name, cannot be a path
        raise FileNotFoundError(
            f'checkpoint {shown(filename)} (in full {shown(osp.abspath(str(filename)))}) can not be found'
        ) from error
    if stat.S_ISDIR(mode):
        raise CheckpointError(f'{shown(path)}: is a folder; {EXPECTED}')
    if not stat.S_ISREG(mode):
        raise CheckpointError(f'{shown(path)}: is {SPECIAL.get(stat.S_IFMT(mode), "not a regular file")}; {EXPECTED}')
    return path


def file_kind(path: str) -> str:
    """Return 'zip' or 'legacy' (written by ``torch.save``), 'safetensors', or 'other', by the first bytes of a file."""
    with open(path, 'rb') as file:
        start = file.read(9)
    if start.startswith(ZIP_START):
        return 'zip'
    if start[8:] == b'{' and int.from_bytes(start[:8], 'little') <= min(LONGEST_HEADER, osp.getsize(path)):
        return 'safetensors'
    return 'legacy' if start[:1] == b'\x80' and start[1:2] <= b'\x05' else 'other'


def check_headers(path: str) -> None:
    """Check that a file written by ``torch.save`` takes no more memory than its own size.

    Torch never compresses: a compressed record, a record larger than the file, a storage larger than its record, or a
    call that allocates by a number, is a trap.

    Raises:
        CheckpointError: it would take more.
        ValueError, EOFError, zipfile.BadZipFile: damaged or truncated.
    """
    kind = file_kind(path)
    try:
        if kind == 'zip':
            _check_zip(path)
        elif kind == 'legacy':
            with open(path, 'rb') as file:
                for _ in range(LEGACY_PICKLES):
                    scan_pickle(file, osp.getsize(path))
    except CheckpointError as error:
        raise CheckpointError(f'{shown(path)}: rejected, because {error}; {EXPECTED}') from None


def _check_zip(path: str) -> None:
    size = osp.getsize(path)
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        for record in records:
            if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
                raise CheckpointError(
                    f'record {record.filename!r} is compressed, from {record.file_size} bytes to '
                    f'{record.compress_size}, which torch.save never does'
                )
        total = sum(record.file_size for record in records)
        if total > size:
            raise CheckpointError(f'its records say that they hold {total} bytes, and the file has {size}')
        numbers = Counter(record.filename.lower() for record in records)  # torch ignores the case
        repeated = next((name for name, number in numbers.items() if number > 1), None)
        if repeated is not None:
            raise CheckpointError(f'it has {numbers[repeated]} records named {repeated!r}, expected one')
        sizes = {record.filename.lower(): record.file_size for record in records}
        for record in records:
            folder, _, name = record.filename.lower().rpartition('/')
            if name.endswith('.pkl'):
                content = io.BytesIO(archive.read(record))
                scan_pickle(content, size, lambda key, folder=folder: sizes.get(f'{folder}/data/{key}'.lower(), 0))


def checked_content(path: str, checkpoint: Any) -> dict[str, Any]:
    """Return a loaded checkpoint as a dict with `state_dict` and `meta`, also of a plain state dict or another wrapper.

    Raises:
        CheckpointError: there are no weights in it, a part has the wrong type, or tensors repeat few values so often
            that copies of them would take much more memory than the file.
    """
    if not _holds_tensors(checkpoint):
        found = sorted(map(str, checkpoint))[:5] if isinstance(checkpoint, Mapping) else type(checkpoint).__name__
        raise CheckpointError(f'{shown(path)}: no weights in it (found {found}); {EXPECTED}')
    _check_repeated_values(path, checkpoint)
    # mmengine's EMAHook and MMSeg's inferencer want both keys, which a plain state dict (Meta's files) does not have.
    # (RandomStateHook's tensor lies beside the state_dict of our own checkpoints.)
    if 'state_dict' not in checkpoint:
        _check_metadata(path, checkpoint)
        if any(isinstance(value, torch.Tensor) for value in checkpoint.values()):
            checkpoint = dict(state_dict=checkpoint, meta=dataset_meta(checkpoint))
        elif (inner := unwrap(checkpoint)) is not None:  # of another training code, as {'model': state}
            checkpoint = {'meta': dataset_meta(inner), **checkpoint, 'state_dict': inner}
    for name in ('state_dict', 'meta', 'message_hub', 'ema_state_dict'):
        if name in checkpoint and not isinstance(checkpoint[name], Mapping):
            _reject(path, name, checkpoint[name], 'a dict')
    _check_metadata(path, checkpoint.get('state_dict', {}))
    return checkpoint


def _check_metadata(path: str, state_dict: Mapping) -> None:
    for key in state_dict:
        if not isinstance(key, str):
            _reject(path, 'a key of state_dict', key, 'text')
    metadata = getattr(state_dict, '_metadata', None)
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        _reject(path, 'state_dict._metadata', metadata, 'a dict')
    for name, value in metadata.items():
        if not isinstance(value, Mapping):
            _reject(path, f'state_dict._metadata[{name!r}]', value, 'a dict')


def _reject(path: str, name: str, value: Any, expected: str) -> None:
    text = repr(value)
    text = text if len(text) < 100 else f'{text[:100]}...'
    raise CheckpointError(f'{shown(path)}: {name} is {type(value).__name__} {text}, expected {expected}')


def _holds_tensors(checkpoint: Any) -> bool:
    """Whether a tensor is in the dict itself or in a dict in it (``state_dict``, ``model``, ``teacher``, ...)."""
    if not isinstance(checkpoint, Mapping):
        return False
    inner = [value for value in checkpoint.values() if isinstance(value, Mapping)]
    return any(isinstance(value, torch.Tensor) for mapping in (checkpoint, *inner) for value in mapping.values())


def _check_repeated_values(path: str, checkpoint: Any) -> None:
    """Reject tensors of stride 0, or views of one storage, that take far more memory once they are copied."""
    size = osp.getsize(path)
    total = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(checkpoint))
    if total > max(4 * size, ALWAYS_ALLOWED):
        raise CheckpointError(
            f'{shown(path)}: rejected, because its tensors repeat few values so often that they would take {total} '
            f'bytes, and the file has {size}; {EXPECTED}'
        )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, (Mapping, list, tuple, set)) and id(item) not in seen:
            seen.add(id(item))
            pending.extend(item.values() if isinstance(item, Mapping) else item)
