"""Download a checkpoint to a cache file: with limits, a hash where its name has one, and never half of it."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log

from .errors import CheckpointError, shown

#: Environment variable with the largest download in GB (10^9 bytes).
LIMIT_VARIABLE = 'MMSAM_EXT_MAX_DOWNLOAD_GB'
DEFAULT_LIMIT_GB = 16.0
#: Seconds without a byte, and the lowest mean rate in bytes per second after the first minute.
TIMEOUT, LOWEST_RATE, GRACE = 30.0, 1024, 60.0
BLOCK = 2**20
#: 'name-1a2b3c4d.pth': the first digits of the file's SHA-256, as in the model zoos of torch and OpenMMLab.
HASHED = re.compile(r'-([0-9a-f]{8,64})(\.[A-Za-z]+)*$')
DATE = re.compile(r'(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])')


def download(url: str) -> str:
    """Return the local copy of the file at a URL, downloading it if there is none.

    Copies are kept where ``torch.hub`` keeps them (``$TORCH_HOME/hub/checkpoints``), under the file's name where that
    has a hash, otherwise in a folder per URL: files of one name on two servers are different files.

    Raises:
        CheckpointError: the server cannot be reached or answers with an error, the file is larger than the limit,
            arrives incomplete or too slowly, or does not have the hash in its name.
    """
    name = file_name(url)
    expected = name_hash(name)
    folder = osp.join(torch.hub.get_dir(), 'checkpoints')
    if expected is None:
        folder = osp.join(folder, hashlib.sha256(url.encode()).hexdigest()[:16])
    path = osp.join(folder, name)
    os.makedirs(folder, exist_ok=True)
    with _one_process(path):
        if osp.isfile(path):
            if expected is None or _sha256(path).startswith(expected):
                return path
            print_log(f'{shown(path)} does not have the hash in its name; it is downloaded again', 'current')
        _fetch(url, path, expected)
    return path


def file_name(url: str) -> str:
    """Return the file name in a URL, with characters that no file name needs replaced.

    Raises:
        CheckpointError: the URL has none.
    """
    name = osp.basename(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    name = re.sub(r'[^\w.+-]', '_', name)[-150:]
    if not name.strip('._'):
        raise CheckpointError(f'{shown(url)}: no file name in this URL, expected http(s)://HOST/.../NAME.pth')
    return name


def name_hash(name: str) -> str | None:
    """Return the start of the SHA-256 that a file name states, None where there is none (a date is not a hash)."""
    found = HASHED.search(name)
    return None if found is None or DATE.fullmatch(found[1]) else found[1]


def download_limit() -> int:
    """Return the most bytes of a download.

    Raises:
        CheckpointError: the environment variable is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
    try:
        limit = float(text) * 1e9
    except ValueError:
        limit = 0
    if not limit > 0:
        raise CheckpointError(f'environment variable {LIMIT_VARIABLE} is {text!r}, expected a positive number of GB')
    return int(min(limit, 1e18))


class _SameSecurity(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https to http."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        old, new = urllib.parse.urlsplit(request.full_url).scheme, urllib.parse.urlsplit(new_url).scheme
        if new not in ('http', 'https') or (old == 'https' and new == 'http'):
            raise CheckpointError(f'redirected from {old} to {shown(new_url)}, which is not followed')
        return super().redirect_request(request, file, code, message, headers, new_url)


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()  # without handlers of file:, ftp: and data:
    for handler in (
        urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPErrorProcessor, _SameSecurity,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _fetch(url: str, path: str, expected: str | None) -> None:
    limit = download_limit()
    partial = f'{path}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial'
    print_log(f'Downloads {shown(url)} to {shown(path)}', 'current')
    try:
        request = urllib.request.Request(url, headers={'User-Agent': 'mmsam_ext'})
        with _opener().open(request, timeout=TIMEOUT) as response, open(partial, 'wb') as file:
            stated = int(response.headers.get('Content-Length') or -1)
            _check_size(max(stated, 0), limit)
            if stated > shutil.disk_usage(osp.dirname(path)).free:
                raise CheckpointError(f'{stated} bytes do not fit on the disk of {osp.dirname(path)}')
            digest, size, start = hashlib.sha256(), 0, time.monotonic()
            while block := response.read(BLOCK):
                size += len(block)
                _check_size(size, limit)
                elapsed = time.monotonic() - start
                if elapsed > GRACE and size < LOWEST_RATE * elapsed:
                    raise CheckpointError(f'only {size} bytes arrived in {elapsed:.0f} s')
                file.write(block)
                digest.update(block)
            file.flush()
            os.fsync(file.fileno())
        if stated not in (-1, size):
            raise CheckpointError(f'incomplete: {size} of {stated} bytes arrived')
        if expected is not None and not digest.hexdigest().startswith(expected):
            raise CheckpointError(f'its SHA-256 is {digest.hexdigest()}, and its name says {expected}')
        os.replace(partial, path)
    except CheckpointError as error:
        raise CheckpointError(f'{shown(url)}: {error}') from error
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise CheckpointError(
            f'{shown(url)}: cannot be downloaded ({type(error).__name__}: {error}); check the address and the network, '
            'or download the file by hand and give its path'
        ) from error
    finally:
        if osp.exists(partial):
            os.remove(partial)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise CheckpointError(
            f'more than {limit} bytes ({size} so far or stated); set {LIMIT_VARIABLE} to allow larger downloads'
        )


def _sha256(path: str) -> str:
    with open(path, 'rb') as file:
        return _digest(file)


def _digest(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _one_process(path: str) -> Iterator[None]:
    """Let the processes of a distributed run on one machine download a file once."""
    try:
        import fcntl
    except ImportError:  # not on Windows; there each process downloads, and renames a whole file
        yield
        return
    with open(f'{path}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
