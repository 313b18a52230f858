"""Models of Hugging Face: a folder that ``save_pretrained`` wrote, or ``hf://owner/name`` from the hub."""

from __future__ import annotations

import os.path as osp

from mmsam_ext.utils.text_files import read_json

from .errors import EXPECTED, CheckpointError, shown

HUB = 'hf://'
#: The weights of a folder: in one file, or an index that names the files of a large model.
WEIGHTS, INDEX = 'model.safetensors', 'model.safetensors.index.json'
OLD_WEIGHTS = 'pytorch_model.bin'


def weight_files(folder: str) -> list[str]:
    """Return the files of weights in a folder that ``save_pretrained`` wrote.

    Raises:
        CheckpointError: The folder has no such files, its index cannot be read, or files that the index names are
            missing; the message names them.
    """
    whole, index = osp.join(folder, WEIGHTS), osp.join(folder, INDEX)
    if osp.isfile(whole):
        return [whole]
    if not osp.isfile(index):
        old = osp.join(folder, OLD_WEIGHTS)
        if osp.isfile(old):
            raise CheckpointError(f'{shown(folder)}: is a folder without {WEIGHTS}; give the file {shown(old)} in it')
        raise CheckpointError(
            f'{shown(folder)}: is a folder without {WEIGHTS} or {INDEX}; expected the folder of a model of Hugging '
            f'Face, or a file: {EXPECTED}'
        )
    try:
        names = sorted(set(read_json(index)['weight_map'].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f'{shown(index)}: field `weight_map` cannot be read ({type(error).__name__}: {error}); expected a dict of '
            'the name of each weight and its file'
        ) from error
    outside = [name for name in names if not isinstance(name, str) or osp.basename(name) != name]
    if outside:
        raise CheckpointError(f'{shown(index)}: field `weight_map` names {outside[0]!r}, expected files in its folder')
    missing = [name for name in names if not osp.isfile(osp.join(folder, name))]
    if missing:
        raise CheckpointError(
            f'{shown(folder)}: {len(missing)} of the {len(names)} files that {INDEX} names are missing: '
            f'{", ".join(missing[:5])}. Download them to this folder'
        )
    return [osp.join(folder, name) for name in names]


def hub_folder(name: str) -> str:
    """Return the local copy of the weights of ``hf://owner/name``, downloaded where they are not in the cache yet.

    Raises:
        CheckpointError: The name is not owner/name, the package ``huggingface_hub`` is not installed, or the download
            fails.
    """
    repository = name.removeprefix(HUB)
    if len([part for part in repository.split('/') if part]) != 2:
        raise CheckpointError(f'{shown(name)}: expected {HUB}owner/name, such as {HUB}facebook/sam2.1-hiera-small')
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            f'{shown(name)}: the package huggingface_hub is needed for {HUB} and is not installed; run '
            'pip install "mmsam_ext[hub]", or give a file or folder that you downloaded'
        ) from error
    try:
        return snapshot_download(repository, allow_patterns=['*.safetensors', INDEX])
    except Exception as error:  # no network, no such model, no permission: some ten kinds
        reason = (str(error).strip().splitlines() or [''])[0]
        raise CheckpointError(
            f'{shown(name)}: cannot be downloaded ({type(error).__name__}: {reason}); check the name and the network, '
            'or give a file or folder that you downloaded'
        ) from error
