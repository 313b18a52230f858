"""Checkpoints that hold the trained part alone, on a named base."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .contents import existing_file, file_kind
from .download import download
from .errors import CheckpointError, shown
from .formats import Format
from .hugging_face import HUB, hub_folder, weight_files
from .loaders import PACKAGED, asset_path

#: Where a state dict's metadata names its base: ``state_dict._metadata[''][KEY] = dict(file=..., sha256=...)``.
#: Metadata travels with the state dict through every loader of torch and mmengine, which the checkpoint's own `meta`
#: does not.
KEY = 'mmsam_ext_base'


def trained_keys(model: nn.Module) -> set[str]:
    """Return the state keys that training changes: parameters to train, and buffers.

    Buffers of a subtree whose parameters are all frozen are not among them.
    """
    return set(_trained_keys(model, ''))


def _trained_keys(module: nn.Module, prefix: str) -> Iterator[str]:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return
    # A layer with LoRA has a few thousand parameters to train beside a frozen weight of millions.
    yield from (prefix + name for name, value in module.named_parameters(recurse=False) if value.requires_grad)
    buffers = dict(module.named_buffers(recurse=False))
    temporary = module._non_persistent_buffers_set  # noqa: SLF001 (torch has no public name for it)
    yield from (prefix + name for name in buffers if name not in temporary)
    for name, child in module.named_children():
        yield from _trained_keys(child, f'{prefix}{name}.')


def keys_beyond(model: nn.Module, base: Mapping[str, Tensor]) -> set[str]:
    """Return the state keys of the model that `base` (with the model's names) lacks or holds with other values."""
    return {key for key, value in model.state_dict().items() if not _same(base.get(key), value)}


def _same(held: Tensor | None, value: Tensor) -> bool:
    """Whether loading `held` gives `value`."""
    return held is not None and held.shape == value.shape and torch.equal(held.to(value), value)


def base_file(model: nn.Module) -> str | None:
    """Return the checkpoint that the model's ``init_cfg`` of type 'Pretrained' names, as it stands in the config."""
    configs = getattr(model, 'init_cfg', None) or []
    for config in configs if isinstance(configs, (list, tuple)) else [configs]:
        if config.get('type') == 'Pretrained':
            return config['checkpoint']
    return None


def file_hash(name: str) -> str:
    """Return the SHA-256 of a checkpoint file.

    Args:
        name: Path, ``mmsam_ext://NAME``, or a URL, which is downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is not a regular file, or does not begin as a checkpoint does.
    """
    path = local_path(name)
    try:
        path = existing_file(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'base checkpoint {shown(name)}: no such file') from error
    if file_kind(path) == 'other':
        raise CheckpointError(f'base checkpoint {shown(name)}: does not begin as a checkpoint does')
    return _file_hash(path, os.path.getmtime(path), os.path.getsize(path))


@lru_cache(maxsize=16)
def _file_hash(path: str, modified: float, size: int) -> str:
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def local_path(name: str) -> str:
    """Return a file path: of a path, of one of our ``mmsam_ext://`` names, or of the local copy of a URL.

    Of a model of Hugging Face (a folder, or ``hf://owner/name``) it is that of its weights.

    Raises:
        CheckpointError: A model of Hugging Face has no weights, or its weights are in several files.
    """
    if name.startswith(PACKAGED):
        return asset_path(name)
    if name.startswith(('http://', 'https://')):
        return download(name)
    path = hub_folder(name) if name.startswith(HUB) else os.path.expanduser(name)
    if not os.path.isdir(path):
        return path
    files = weight_files(path)
    if len(files) > 1:
        raise CheckpointError(
            f'{shown(name)}: its weights are in {len(files)} files; the base of a checkpoint must be one file'
        )
    return files[0]


def read_state(name: str) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint file, as it is there."""
    checkpoint = CheckpointLoader.load_checkpoint(name, map_location='cpu')
    return dict(checkpoint.get('state_dict', checkpoint))


def load_base_state(
    model: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    local_metadata: dict,
    rename: Callable[[dict[str, Tensor], str], object],
) -> None:
    """Complete a trainable-only state dict, in place, with the base that its metadata names. Others are left alone.

    The base is looked for where the model's own ``init_cfg`` says, then where it was in training. The second comes from
    the checkpoint, which may be a stranger's: it must be the path of a regular file of the recorded size that begins as
    a checkpoint does, and a URL is not followed. `rename` brings the base's keys to the model's names, in place.

    Raises:
        CheckpointError: the record of the base has fields of the wrong type.
        FileNotFoundError: the base is in neither place, or what is there is another file (by SHA-256).
    """
    if local_metadata.get(KEY) is None:
        return
    file, sha256, size = _base_record(local_metadata[KEY])
    configured, tried = base_file(model), []
    for name in dict.fromkeys([configured, file]):
        if name is None:
            continue
        try:
            if name != configured and '://' in name and not name.startswith(PACKAGED):
                raise CheckpointError('a URL in a checkpoint is not followed')
            if size is not None and os.path.getsize(existing_file(local_path(name))) != size:
                raise CheckpointError(f'another file (of another size than {size} bytes)')
            found = file_hash(name)
        except FileNotFoundError:
            tried.append(f'{shown(name)}: no such file')
            continue
        except CheckpointError as error:
            tried.append(f'{shown(name)}: {error}')
            continue
        if found != sha256:
            tried.append(f'{shown(name)}: another file (SHA-256 {found[:12]}...)')
            continue
        print_log(f'Loads the trained part on the base {shown(name)}.', 'current')
        whole = {prefix + key: value for key, value in read_state(name).items()}
        rename(whole, prefix)
        state_dict.update({key: value for key, value in whole.items() if key not in state_dict})
        return
    raise FileNotFoundError(
        f'This checkpoint holds the trained part alone; its base {shown(file)} (SHA-256 {sha256[:12]}...) is '
        f'needed too. Tried: {"; ".join(tried)}. Put it there, or set model.init_cfg.checkpoint to where it is.'
    )


def rename_with_base(
    model: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    rename: Callable[[dict[str, Tensor], str], Format | None],
) -> Format | None:
    """Bring a state dict to the model's names, and complete a part of a model with its base, in place.

    Such a part is the decoder that HQ-SAM's training writes; its base is the file that the model's ``init_cfg`` names.

    Args:
        model: The model.
        state_dict: With any known key names.
        prefix: Of the model's keys in it.
        rename: Brings keys to the model's names, in place, and returns the format that they had.

    Returns:
        The format that the keys had, None where it is unknown.

    Raises:
        ValueError: The file is a part of a model, and the model names no base.
    """
    source = rename(state_dict, prefix)
    if source is None or not source.needs_base:
        return source
    name = base_file(model)
    if name is None:
        raise ValueError(f'The file is {source.name}. {source.advice}.')
    print_log(f'Loads {source.name} on the base {shown(name)}.', 'current')
    whole = {prefix + key: value for key, value in read_state(name).items()}
    rename(whole, prefix)
    state_dict.update({key: value for key, value in whole.items() if key not in state_dict})
    return source


def _base_record(record: object) -> tuple[str, str, int | None]:
    """Return file, SHA-256 and size (None in checkpoints of older versions) of the base that a checkpoint names.

    Raises:
        CheckpointError: a field is missing or has the wrong type.
    """
    fields: Mapping = record if isinstance(record, Mapping) else {}
    file, sha256, size = fields.get('file'), fields.get('sha256'), fields.get('size')
    wrong = {
        KEY: not isinstance(record, Mapping),
        f'{KEY}.file': not (isinstance(file, str) and file),
        f'{KEY}.sha256': not (isinstance(sha256, str) and re.fullmatch('[0-9a-f]{64}', sha256)),
        f'{KEY}.size': size is not None and (isinstance(size, bool) or not isinstance(size, int)),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise CheckpointError(
                f'the checkpoint names its base in {name}, which is {str(_field(record, name))[:100]!r}; expected a '
                'dict with file (a path), sha256 (64 hexadecimal digits) and size (bytes)'
            )
    return str(file), str(sha256), size


def _field(record: object, name: str) -> object:
    return record.get(name.rpartition('.')[2]) if isinstance(record, Mapping) else record


def base_record(name: str) -> dict[str, str | int]:
    """Return what a checkpoint of the trained part says of its base: file, sha256 and size."""
    return dict(file=name, sha256=file_hash(name), size=os.path.getsize(local_path(name)))
