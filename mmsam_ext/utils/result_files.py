"""Writing results without overwriting anybody else's files."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .printable import printable

#: Lists what this package wrote to a folder, a JSON object a line: `name` and `sha256`.
MANIFEST = '.mmsam_ext_results{rank}.jsonl'
_SHOWN = 5


class ResultFolder:
    """Writes files to a folder, and overwrites only what an earlier run wrote there.

    A manifest in the folder records the name and the hash of every file that is written. A file that is not in it, or
    was changed since, belongs to the user. Files are written under a temporary name and renamed, so a name holds either
    the old content or the whole of the new one; a symbolic link of that name is replaced, not followed.

    Args:
        folder: Folder to write to, made with the first file.
        overwrite: Whether the user's files may be overwritten.
        rank: Number of the process where several write to the folder; each has its own manifest.

    Example::

        results = ResultFolder('outputs')
        results.check(['a.png', 'b.png'])  # before the work
        results.write('a.png', content)
    """

    def __init__(self, folder: str | os.PathLike, overwrite: bool = False, rank: int = 0) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        self.manifest = self.folder / MANIFEST.format(rank=f'.{rank}' if rank else '')
        self._hashes = _read_manifests(self.folder)
        self._appended: dict[str, hashlib._Hash] = {}

    def check(self, names: Iterable[str]) -> None:
        """Check that files may be written, without writing any.

        Args:
            names: Paths relative to the folder.

        Raises:
            FileExistsError: Some of them exist and belong to the user, and `overwrite` is not set; names them.
            IsADirectoryError: One of them is a folder.
            ValueError: One of them is outside the folder.
        """
        names = list(names)
        for name in names:
            if os.path.isabs(name) or os.path.normpath(name).startswith('..'):
                raise ValueError(f'{printable(self.folder)}: file {printable(name)!r} would be outside this folder')
        existing = [name for name in names if os.path.lexists(self.folder / name)]
        for name in existing:
            if os.path.isdir(self.folder / name) and not os.path.islink(self.folder / name):
                raise IsADirectoryError(
                    f'{printable(self.folder / name)}: Is a directory; expected a file that can be written'
                )
        foreign = [] if self.overwrite else [name for name in existing if not self.wrote(name)]
        if foreign:  # or written since by another process of the same run
            self._hashes = _read_manifests(self.folder)
            foreign = [name for name in foreign if not self.wrote(name)]
        if foreign:
            raise FileExistsError(would_overwrite(self.folder, foreign))

    def prepare(self, names: Iterable[str] = ()) -> None:
        """Check, before any work, that files can be written to the folder, and make it.

        Raises:
            FileExistsError, IsADirectoryError, ValueError: As :meth:`check`.
            OSError: The folder cannot be made or written to; names it.
        """
        self.check(names)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.manifest.touch()
        except OSError as error:
            raise type(error)(f'{printable(self.folder)}: {error.strerror}; expected a folder to write to') from error

    def wrote(self, name: str) -> bool:
        """Return whether a file was written by a run of this package, and is as that run left it."""
        path = self.folder / name
        hashes = self._hashes.get(name.replace(os.sep, '/'))
        if not hashes or path.is_symlink() or not path.is_file():
            return False
        return _hash(path) in hashes

    def foreign_files(self, suffix: str) -> list[str]:
        """Return the files below the folder that end in `suffix` and that no run of this package wrote."""
        if not self.folder.is_dir():
            return []
        paths = sorted(path for path in self.folder.rglob(f'*{suffix}') if not path.name.startswith('.'))
        names = [str(path.relative_to(self.folder)) for path in paths]
        return [name for name in names if not self.wrote(name)]

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            FileExistsError: It exists, belongs to the user, and `overwrite` is not set.
            OSError: It cannot be written.
        """
        with self.writing(name) as temporary:
            temporary.write_bytes(content)
        self._appended[name] = hashlib.sha256(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a temporary path, and rename it to `name` where the block ends without an error.

        Raises:
            FileExistsError: It exists, belongs to the user, and `overwrite` is not set.
            OSError: It cannot be written.
        """
        self.check([name])
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f'.{uuid.uuid4().hex}{path.suffix[:16]}'
        try:
            yield temporary
            self._record(name, _hash(temporary))  # first: a run that is killed in between leaves a file that is known
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def record(self, name: str) -> None:
        """Record a file that another library has just written to the folder, after :meth:`check` allowed it."""
        self._record(name, _hash(self.folder / name))

    def append(self, name: str, content: bytes) -> None:
        """Append to a file that this object wrote.

        Raises:
            OSError: It cannot be written.
        """
        self._appended[name].update(content)
        self._record(name, self._appended[name].hexdigest())
        with (self.folder / name).open('ab') as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file if an earlier run wrote it; the user's files stay."""
        if self.wrote(name):
            (self.folder / name).unlink()

    def _record(self, name: str, digest: str) -> None:
        key = name.replace(os.sep, '/')
        with self.manifest.open('a', encoding='ascii') as file:  # JSON escapes what is not ASCII
            file.write(json.dumps(dict(name=key, sha256=digest)) + '\n')
        self._hashes[key].add(digest)


@contextmanager
def replacing(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and rename it to `path` where the block ends without an error.

    The rule and the manifest are those of :class:`ResultFolder`.

    Example::

        check_output_file('merged.pth', inputs=['trained.pth'])  # before the work
        with replacing('merged.pth') as temporary:
            torch.save(state, temporary)
    """
    path = Path(path)
    with ResultFolder(path.parent, overwrite).writing(path.name) as temporary:
        yield temporary


def check_output_file(
    path: str | os.PathLike, inputs: Sequence[str | os.PathLike] = (), overwrite: bool = False
) -> None:
    """Check, before any work, that the file of ``--out`` may be written, and make its folder.

    Args:
        path: The file to write.
        inputs: Files that are read, none of which may be the output.
        overwrite: Whether a file may be overwritten that no earlier run wrote.

    Raises:
        FileExistsError: The file exists and no earlier run wrote it, or it is one of the inputs; names it.
        OSError: Its folder cannot be made, or it is a folder itself.
    """
    path = Path(path)
    for source in inputs:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise FileExistsError(f'{printable(path)}: the output is the input {printable(source)}; give another file')
    if os.path.isdir(path):
        raise IsADirectoryError(f'{printable(path)}: Is a directory; expected the name of a file to write')
    if os.path.lexists(path) and not overwrite and not ResultFolder(path.parent).wrote(path.name):
        raise FileExistsError(
            f'{printable(path)}: the file exists, and no earlier run wrote it; give another one, or --overwrite to '
            'replace it'
        )
    path.parent.mkdir(parents=True, exist_ok=True)


def would_overwrite(folder: Path, names: Sequence[str]) -> str:
    """Return the message for files of the user that results would replace."""
    shown = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
    return printable(
        f'{folder}: {len(names)} files would be overwritten that no earlier run wrote, or that were changed since: '
        f'{shown}. Give another folder, or overwrite=True (--overwrite) to replace them'
    )


def _read_manifests(folder: Path) -> dict[str, set[str]]:
    """Name -> hashes of its content, of all that runs recorded; lines cut short by a kill are left out."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.glob(MANIFEST.format(rank='*'))):
        for line in path.read_text(encoding='ascii', errors='replace').splitlines():
            try:
                record = json.loads(line)
                hashes[str(record['name'])].add(str(record['sha256']))
            except (ValueError, TypeError, KeyError):
                continue
    return hashes


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
