"""Every scheme of mmengine that fetches weights, through :func:`download` and the local weights-only loader.

mmengine's own loaders end in ``torch.hub.load_state_dict_from_url``, which unpickles everything: a checkpoint by URL
would run code. The names and the meaning of the schemes are mmengine's.
"""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Mapping
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.fileio import get_file_backend
from mmengine.runner import checkpoint as stock

from .download import download, download_limit
from .errors import CheckpointError, shown
from .loaders import load_file
from .schemes import register_scheme


@register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(
    filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = False
) -> dict[str, Any]:
    """Download a file and load its tensors.

    Args:
        filename: URL.
        map_location: As for :func:`torch.load`.
        model_dir: Accepted because mmengine passes it, and ignored.
        progress: Accepted because mmengine passes it, and ignored.

    Raises:
        CheckpointError: as :func:`download` and :func:`load_file`.
    """
    path = download(filename)
    try:
        return load_file(path, map_location)
    except CheckpointError as error:
        with suppress(OSError):  # a page of a web site, perhaps; the next call asks the server again
            os.remove(path)
        raise CheckpointError(f'{shown(filename)}: {error}') from error


@register_scheme(prefixes=('modelzoo://', 'torchvision://'), force=True)
def load_from_torchvision(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights of torchvision by their name: ``torchvision://resnet50``."""
    return load_from_http(_named(filename, stock.get_torchvision_models()), map_location)


@register_scheme(prefixes=('open-mmlab://', 'openmmlab://'), force=True)
def load_from_openmmlab(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights of OpenMMLab's list, or of the user's ``$MMENGINE_HOME/open_mmlab.json``, by their name."""
    names = stock.get_external_models()
    new_names = stock.get_deprecated_model_names()
    scheme, name = filename.split('://', 1)
    target = _named(f'{scheme}://{new_names.get(name, name)}', names)
    if target.startswith(('http://', 'https://')):
        return load_from_http(target, map_location)
    home = stock._get_mmengine_home()  # noqa: SLF001 (mmengine has no public name for it)
    return load_file(osp.join(home, target), map_location)


@register_scheme(prefixes='mmcls://', force=True)
def load_from_mmcls(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load the backbone of a model of MMClassification by its name."""
    checkpoint = load_from_http(_named(filename, stock.get_mmcls_models()), map_location)
    return stock._process_mmcls_checkpoint(checkpoint)  # noqa: SLF001 (mmengine has no public name for it)


@register_scheme(prefixes='pavi://', force=True)
def load_from_pavi(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a checkpoint from SenseTime's model cloud, with its client ``pavi``.

    Raises:
        ImportError: the client is not installed.
    """
    try:
        from pavi import modelcloud  # pyright: ignore[reportMissingImports] (of SenseTime alone)
    except ImportError as error:
        raise ImportError(
            f'{shown(filename)}: the package `pavi` is needed for pavi:// and is not installed'
        ) from error
    model = modelcloud.get(filename.removeprefix('pavi://'))
    with TemporaryDirectory() as folder:
        path = osp.join(folder, osp.basename(model.name))
        model.download(path)
        return load_file(path, map_location)


@register_scheme(prefixes=[r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], force=True)
def load_from_ceph(filename: str, map_location: Any = None, backend: str = 'petrel') -> dict[str, Any]:
    """Load a checkpoint from a Ceph or S3 store, by mmengine's file backend."""
    content = get_file_backend(filename, backend_args=dict(backend=backend)).get(filename)
    if len(content) > download_limit():
        raise CheckpointError(f'{shown(filename)}: {len(content)} bytes, more than the limit of {download_limit()}')
    with TemporaryDirectory() as folder:
        path = osp.join(folder, osp.basename(filename))
        with open(path, 'wb') as file:
            file.write(content)
        return load_file(path, map_location)


def _named(filename: str, urls: Mapping[str, str]) -> str:
    """Return the URL of a name of a model zoo.

    Raises:
        CheckpointError: the zoo does not have this name.
    """
    scheme, name = filename.split('://', 1)
    if name not in urls:
        near = [known for known in sorted(urls) if known.split('.')[0] == name.split('.')[0]] or sorted(urls)
        raise CheckpointError(f'{shown(filename)}: no weights of this name; {scheme}:// has {", ".join(near[:8])}, ...')
    return urls[name]
