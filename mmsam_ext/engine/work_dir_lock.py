"""`WorkDirLock`: only one training at a time in a work folder."""

from __future__ import annotations

import errno
import json
import logging
import os
import os.path as osp
import socket
import stat
import time
from typing import IO

from mmengine.logging import print_log

LOCK_NAME = '.training.lock'
#: Lock files that a process holds, by its id (a forked process has none of them) and their path: closing a second
#: descriptor of one would give up its lock.
_HELD: dict[tuple[int, str], IO[str]] = {}


class WorkDirLock:
    """Lock a work folder against a second training.

    Runners hold the lock while they train (:mod:`mmsam_ext.compat.one_training`).

    The lock is the operating system's (``fcntl.lockf``). It ends with the process, however the process ends; it works
    on network file systems; and data loading workers, which may outlive a killed training for some seconds, do not
    inherit it.

    Args:
        work_dir: The folder; it is made if it does not exist.
    """

    def __init__(self, work_dir: str) -> None:
        self.path = osp.join(osp.realpath(work_dir), LOCK_NAME)

    @property
    def _key(self) -> tuple[int, str]:
        return os.getpid(), self.path

    def _open(self) -> IO[str]:
        """Open the lock file, which is made if it does not exist; a link is not followed, as its file is the user's."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if not osp.lexists(self.path):
                raise
            reason = f'{error.strerror}; its owner has the user id {os.lstat(self.path).st_uid}'
        else:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.fdopen(descriptor, 'r+')
            os.close(descriptor)
            reason = 'it is a pipe or a device'
        raise RuntimeError(
            f'{self.path}: the lock of this work_dir cannot be used ({reason}). Remove it if no training is running '
            'there, or choose another --work-dir'
        )

    def acquire(self) -> None:
        """Take the lock; has no effect if this process holds it already.

        Raises:
            RuntimeError: Another process trains in the folder (the message names its process id and host), or the lock
                is a link, a folder, a pipe or a device, or belongs to another user.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        if self._key in _HELD:
            return
        os.makedirs(osp.dirname(self.path), exist_ok=True)
        file = self._open()
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(file)
            file.close()
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                print_log(f'{self.path}: this file system has no locks ({error})', 'current', logging.WARNING)
                return
            raise RuntimeError(
                f'{osp.dirname(self.path)}: another training is running in this work_dir ({owner}). Wait for it to '
                'end, stop it, or choose another --work-dir for this one'
            ) from None
        file.seek(0)
        file.truncate()
        json.dump(dict(pid=os.getpid(), host=socket.gethostname(), since=time.strftime('%Y-%m-%d %H:%M:%S')), file)
        file.flush()
        _HELD[self._key] = file

    def other_owner(self) -> str | None:
        """Return a description of the other process that holds the lock, or None if no other process does."""
        try:
            import fcntl

            if self._key in _HELD:  # opening and closing it would give up the lock
                return None
            with open(self.path, 'r+') as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    return _owner(file) if error.errno in (errno.EACCES, errno.EAGAIN) else None
        except (ImportError, OSError):  # Windows; nobody ever trained here, or the folder cannot be written to
            return None
        return None

    def release(self) -> None:
        """Release the lock."""
        file = _HELD.pop(self._key, None)
        if file is not None:
            file.close()


def _owner(file: IO[str]) -> str:
    """Describe process, host and start of the training that holds a lock."""
    file.seek(0)
    try:
        held = json.loads(file.read(1000))
        return f'process {int(held["pid"])} on {held["host"]!s}, since {held["since"]!s}'
    except (ValueError, KeyError, TypeError):
        return 'its lock file does not say which process'
