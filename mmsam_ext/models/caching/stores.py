"""Where embeddings are kept: in memory, or in one file each."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

#: Name -> tensor on the CPU.
Entry: TypeAlias = Mapping[str, Tensor]
#: Path of an entry below the folder: encoder, first digits of the key, key.
_ENTRY = re.compile(r'^[0-9a-f]{16}/[0-9a-f]{2}/[0-9a-f]{64}\.safetensors$')
#: Seconds after which a temporary file belongs to a process that was killed.
_ABANDONED = 3600.0
#: Number of entries that this process writes before it counts those of other processes again.
_RECOUNT = 64


class Store(Protocol):
    """What an :class:`EmbeddingCache` needs of a place for entries, each a dict of named tensors on the CPU."""

    def get(self, key: str) -> Entry | None:
        """Return an entry, or None if there is none."""
        ...

    def put(self, key: str, tensors: Entry) -> bool:
        """Keep an entry; return False if there is no room for it."""
        ...


class MemoryStore:
    """Keep entries in the memory of this process.

    Args:
        max_bytes: Bytes that all entries may take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._entries: dict[str, Entry] = {}

    def get(self, key: str) -> Entry | None:
        """Return an entry, or None if there is none."""
        return self._entries.get(key)

    def put(self, key: str, tensors: Entry) -> bool:
        """Keep an entry; return False if there is no room for it."""
        size = _size(tensors)
        if key not in self._entries and self.bytes + size <= self.max_bytes:
            self._entries[key] = dict(tensors)
            self.bytes += size
        return key in self._entries

    def __str__(self) -> str:
        return f'{len(self._entries)} entries, {self.bytes / 2**30:.3g} GiB in memory'


class _File(NamedTuple):
    path: Path
    bytes: int
    used: float


class DiskStore:
    """Keep each entry in a file of its own, which processes share and memory maps.

    A file is written under a temporary name and renamed, so that readers find the whole of it or nothing, and two
    writers of one entry do no harm. A file that is damaged is named in the log, removed and written again.

    When the folder is full, entries that were last used before this object was made go first, oldest first; they may
    belong to other encoders. Entries that are in use stay: which of them an epoch that does not fit will need next is
    not known, and if the oldest went, each epoch would remove what it needs.

    Args:
        folder: Folder of the cache; it is made if it does not exist.
        encoder: Fingerprint of the encoder, whose entries are in a folder of their own.
        max_bytes: Bytes that all entries may take together, those of other encoders included.

    Raises:
        OSError: The folder cannot be made or read; the error names it.
    """

    def __init__(self, folder: str | os.PathLike, encoder: str, max_bytes: int) -> None:
        self.folder, self.encoder, self.max_bytes = Path(folder), encoder[:16], max_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._opened = time.time()
        self._touched: set[str] = set()
        self._remove_abandoned()
        files = list(self._files())
        mine = [file for file in files if file.path.parts[-3] == self.encoder]
        self.bytes, self._written, self._full = sum(file.bytes for file in files), 0, False
        print_log(
            f'embedding cache {self.folder}: {len(mine)} entries of this encoder, {len(files) - len(mine)} of other '
            f'encoders or settings, {self.bytes / 2**30:.3g} of {max_bytes / 2**30:.3g} GiB',
            'current',
        )

    def path(self, key: str) -> Path:
        """Return the file of an entry."""
        return self.folder / self.encoder / key[:2] / f'{key}.safetensors'

    def get(self, key: str) -> Entry | None:
        """Return an entry, memory-mapped, or None if there is none.

        A damaged file is removed, with a warning that names it.
        """
        path = self.path(key)
        try:
            with safe_open(path, framework='pt') as file:
                found = (file.metadata() or {}).get('key')
                if found != key:
                    raise ValueError(f'its metadata has the key {found}')
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if key not in self._touched:
                self._touched.add(key)
                os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError) as error:
            print_log(
                f'{path}: damaged entry of the embedding cache ({error}); it is removed and computed again',
                'current',
                logging.WARNING,
            )
            path.unlink(missing_ok=True)
            return None
        return tensors

    def put(self, key: str, tensors: Entry) -> bool:
        """Write an entry; return False if there is no room for it among the entries in use.

        Raises:
            OSError: The file cannot be written, for example because the disk is full; the error names it.
        """
        if not self._has_room(_size(tensors)):
            return False
        path = self.path(key)
        temporary = path.parent / f'.{uuid.uuid4().hex}.tmp'
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), temporary, {'key': key})
            self.bytes += temporary.stat().st_size
            os.replace(temporary, path)
        except SafetensorError as error:  # its writer's name for errors of the file system
            raise OSError(f'{path}: {error}') from error
        finally:
            temporary.unlink(missing_ok=True)
        self._touched.add(key)
        self._written += 1
        return True

    def _has_room(self, size: int) -> bool:
        if self._full:
            return False
        if self._written % _RECOUNT == _RECOUNT - 1 or self.bytes + size > self.max_bytes:
            self._evict(size)
        self._full = self.bytes + size > self.max_bytes
        return not self._full

    def _evict(self, size: int) -> None:
        """Count all entries, and remove unused ones, oldest first, until `size` bytes more fit."""
        files = sorted(self._files(), key=lambda file: file.used)
        self.bytes = sum(file.bytes for file in files)
        for file in files:
            if self.bytes + size <= self.max_bytes or file.used >= self._opened or file.path.stem in self._touched:
                break
            file.path.unlink(missing_ok=True)
            self.bytes -= file.bytes

    def _files(self) -> Iterator[_File]:
        """Yield the entries; other files in the folder are left alone."""
        for path in self.folder.glob('*/*/*.safetensors'):
            if _ENTRY.match(path.relative_to(self.folder).as_posix()):
                try:
                    status = path.stat()
                except FileNotFoundError:  # another process removed it
                    continue
                yield _File(path, status.st_size, status.st_mtime)

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob('*/*/.*.tmp'):
            try:
                if re.fullmatch(r'\.[0-9a-f]{32}\.tmp', path.name) and time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue

    def __str__(self) -> str:
        return f'{self.folder}, {self.bytes / 2**30:.3g} of {self.max_bytes / 2**30:.3g} GiB'


def _size(tensors: Entry) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
