"""Weights by URL and by name: one safe loader for every scheme, against a server on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as stock
from safetensors.torch import save_file

from mmsam_ext.checkpoints import CheckpointError, remote
from mmsam_ext.checkpoints import download as module_of_download
from mmsam_ext.checkpoints.download import LIMIT_VARIABLE, download, file_name, name_hash
from tests.naming import raises_naming

WEIGHTS = {'backbone.weight': torch.arange(6.0).view(2, 3)}


class Payload:
    """Pickles as the command ``touch <marker>``."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.marker}',)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder. /redirect?URL redirects; /short and /long lie about their length; requests are counted."""

    requests: list[str] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path.startswith('/redirect'):
            self.send_response(302)
            self.send_header('Location', self.path.split('?', 1)[1])
            self.end_headers()
        elif self.path.startswith(('/short', '/long')):
            self.send_response(200)
            if self.path.startswith('/short'):
                self.send_header('Content-Length', '1000')
            self.end_headers()
            self.wfile.write(b'x' * (10 if self.path.startswith('/short') else 5000))
        else:
            super().do_GET()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """URL and folder of a server, with a fresh download cache."""
    for variable in ('TORCH_HOME', 'MMENGINE_HOME'):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    folder = tmp_path / 'served'
    folder.mkdir()
    one = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=one.serve_forever, daemon=True).start()
    Handler.requests.clear()
    yield f'http://127.0.0.1:{one.server_port}', folder
    one.shutdown()
    one.server_close()


SCHEMES = [
    'http://', 'torchvision://', 'modelzoo://', 'open-mmlab://', 'openmmlab://', 'mmcls://', 'pavi://', 's3://',
    'petrel://', 'cluster:s3://',
]  # fmt: skip


def name_by_scheme(scheme: str, url: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name under `scheme` that leads to the file at `url`, by stand-ins of the lists and clients it needs."""
    if scheme == 'http://':
        return url
    for lister in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(stock, lister, lambda: dict(tiny=url))
    monkeypatch.setattr(remote, 'get_file_backend', lambda *a, **k: types.SimpleNamespace(get=lambda name: content))

    class Model:
        name = 'tiny.pth'

        def download(self, path: str) -> None:
            Path(path).write_bytes(content)

    cloud = types.SimpleNamespace(modelcloud=types.SimpleNamespace(get=lambda name: Model()))
    monkeypatch.setitem(sys.modules, 'pavi', cloud)
    return f'{scheme}tiny'


def served(folder: Path, content: Any, name: str = 'tiny.pth') -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    (folder / name).write_bytes(buffer.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize('scheme', SCHEMES)
def test_every_scheme_loads_tensors_and_runs_no_code(scheme, server, tmp_path, monkeypatch) -> None:
    url, folder = server
    marker = tmp_path / 'ran'
    poisoned = served(folder, dict(state_dict=WEIGHTS, meta={}, extra=Payload(marker)))
    name = name_by_scheme(scheme, f'{url}/tiny.pth', poisoned, monkeypatch)
    with raises_naming(CheckpointError, 'tiny', 'system'):
        CheckpointLoader.load_checkpoint(name, 'cpu')
    assert not marker.exists()

    good = served(folder, WEIGHTS)
    name = name_by_scheme(scheme, f'{url}/tiny.pth', good, monkeypatch)
    state = CheckpointLoader.load_checkpoint(name, 'cpu')['state_dict']
    key = 'weight' if scheme == 'mmcls://' else 'backbone.weight'
    assert list(state) == [key] and torch.equal(state[key], WEIGHTS['backbone.weight'])


def test_all_registered_schemes_are_ours() -> None:
    """All registered schemes are loaded by this package, whichever other packages are imported."""
    import mmcv  # noqa: F401
    import mmpretrain.models  # noqa: F401
    import mmseg.apis  # noqa: F401
    import timm  # noqa: F401

    assert {loader.__module__.split('.')[0] for loader in CheckpointLoader._schemes.values()} == {'mmsam_ext'}
    for url in ('https://x.org/a.safetensors', 's3://b/a.safetensors', 'torchvision://resnet18', 'a:s3://b/c.pth'):
        assert CheckpointLoader._get_checkpoint_loader(url).__module__ == 'mmsam_ext.checkpoints.remote', url


def test_local_file_of_open_mmlab_home(server, tmp_path) -> None:
    """The user's own open_mmlab.json may name local files."""
    home = tmp_path / 'MMENGINE_HOME'
    home.mkdir()
    (home / 'open_mmlab.json').write_text(json.dumps(dict(mine='mine.pth')))
    marker = tmp_path / 'ran'
    torch.save(dict(state_dict=WEIGHTS, extra=Payload(marker)), home / 'mine.pth')
    with raises_naming(CheckpointError, 'mine.pth', 'system'):
        CheckpointLoader.load_checkpoint('openmmlab://mine', 'cpu')
    torch.save(WEIGHTS, home / 'mine.pth')
    assert CheckpointLoader.load_checkpoint('open-mmlab://mine', 'cpu')['state_dict'].keys() == WEIGHTS.keys()
    assert not marker.exists()


@pytest.mark.parametrize('scheme', ['torchvision', 'openmmlab', 'mmcls'])
def test_unknown_name(scheme, server) -> None:
    with raises_naming(CheckpointError, f'{scheme}://resnet1'):
        CheckpointLoader.load_checkpoint(f'{scheme}://resnet1', 'cpu')


def test_downloaded_once_and_by_url(server) -> None:
    """Files of the same name on two servers are kept apart; torch's own cache would mix them up."""
    url, folder = server
    for name, value in (('one', 1.0), ('two', 2.0)):
        (folder / name).mkdir()
        served(folder / name, dict(a=torch.tensor(value)), 'model.pth')
    for _ in range(2):
        for name, value in (('one', 1.0), ('two', 2.0)):
            state = CheckpointLoader.load_checkpoint(f'{url}/{name}/model.pth', 'cpu')['state_dict']
            assert state['a'] == value
    assert len(Handler.requests) == 2


def test_safetensors_by_content(server) -> None:
    url, folder = server
    save_file(WEIGHTS, folder / 'a.safetensors')
    os.link(folder / 'a.safetensors', folder / 'b.pth')
    for name in ('a.safetensors', 'b.pth'):
        state = CheckpointLoader.load_checkpoint(f'{url}/{name}', 'cpu')['state_dict']
        assert torch.equal(state['backbone.weight'], WEIGHTS['backbone.weight'])


def test_hash_in_the_name(server, tmp_path) -> None:
    url, folder = server
    digest = hashlib.sha256(served(folder, WEIGHTS)).hexdigest()
    good = f'tiny-{digest[:8]}.pth'
    os.link(folder / 'tiny.pth', folder / good)
    os.link(folder / 'tiny.pth', folder / 'tiny-0123abcd.pth')
    path = Path(download(f'{url}/{good}'))
    assert path == tmp_path / 'TORCH_HOME' / 'hub' / 'checkpoints' / good  # where torch.hub keeps it
    with raises_naming(CheckpointError, 'tiny-0123abcd.pth', digest):
        download(f'{url}/tiny-0123abcd.pth')
    path.write_bytes(b'damaged')  # on the disk: found, and downloaded again
    assert hashlib.sha256(Path(download(f'{url}/{good}')).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('resnet50-0676ba61.pth', '0676ba61'), ('fcn_r50_20200604_094127-b6cc9e8d.pth', 'b6cc9e8d'),
        ('x-20221130.pth', None), ('sam_vit_b_01ec64.pth', None), ('swin-tiny.pth', None),
        ('a-12345678.pth', '12345678'), ('b-0a1b2c3d4e.safetensors', '0a1b2c3d4e'),
    ],
)  # fmt: skip
def test_name_hash(name: str, expected: str | None) -> None:
    assert name_hash(name) == expected


def left_over(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / 'TORCH_HOME').rglob('*') if path.is_file() and path.suffix != '.lock']


@pytest.mark.parametrize(
    ('path', 'names'),
    [
        ('/none.pth', ('none.pth', '404')), ('/short.pth', ('short.pth', '10', '1000')), ('/', ('file name',)),
        ('/redirect/a.pth?file:///etc/hostname', ('file:///etc/hostname',)),
        ('/redirect/a.pth?ftp://127.0.0.1/a.pth', ('ftp://',)), ('/long.pth', ('long.pth', '1000')),
    ],
)  # fmt: skip
def test_bad_downloads_leave_nothing(path, names, server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, '0.000001')  # 1000 bytes
    with raises_naming(CheckpointError, *names):
        CheckpointLoader.load_checkpoint(server[0] + path, 'cpu')
    assert not left_over(tmp_path)


def test_stated_size_is_checked_before_the_download(server, monkeypatch) -> None:
    url, folder = server
    served(folder, dict(a=torch.zeros(1000)))
    monkeypatch.setenv(LIMIT_VARIABLE, '0.000001')
    with raises_naming(CheckpointError, 'tiny.pth', LIMIT_VARIABLE):
        download(f'{url}/tiny.pth')
    monkeypatch.setenv(LIMIT_VARIABLE, 'many')
    with raises_naming(CheckpointError, LIMIT_VARIABLE, "'many'"):
        download(f'{url}/tiny.pth')


def test_no_server_and_a_silent_one(server, monkeypatch) -> None:
    with raises_naming(CheckpointError, '127.0.0.1:1/a.pth'):
        download('http://127.0.0.1:1/a.pth')
    import socket

    monkeypatch.setattr(module_of_download, 'TIMEOUT', 0.2)
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen()
        address = f'127.0.0.1:{silent.getsockname()[1]}/a.pth'
        with raises_naming(CheckpointError, address):
            download(f'http://{address}')


def test_a_page_of_a_web_site_is_not_kept(server, tmp_path) -> None:
    url, folder = server
    (folder / 'a.pth').write_text('<!DOCTYPE html> please log in')
    with raises_naming(CheckpointError, 'a.pth', "b'<!DO'"):
        CheckpointLoader.load_checkpoint(f'{url}/a.pth', 'cpu')
    assert not left_over(tmp_path)


def test_file_names_stay_in_the_cache() -> None:
    assert file_name('http://h/a/..%2f..%2fb%00c.pth?x=/y.pth#z') == 'b_c.pth'
    for url in ('http://h', 'http://h/', 'http://h/..', 'http://h/a/%2e%2e'):
        with raises_naming(CheckpointError, url):
            file_name(url)
