"""Checkpoints that hold the trained part alone, on a named base."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .loaders import PACKAGED, asset_path

#: Where a state dict's metadata names its base: ``state_dict._metadata[''][KEY] = dict(file=..., sha256=...)``.
#: Metadata travels with the state dict through every loader of torch and mmengine, which the checkpoint's own `meta`
#: does not.
KEY = 'mmsam_ext_base'


def trained_keys(model: nn.Module) -> set[str]:
    """State keys of parameters to train, and of buffers outside of subtrees that have parameters but none to train."""
    return set(_trained_keys(model, ''))


def _trained_keys(module: nn.Module, prefix: str) -> Iterator[str]:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return
    # A layer with LoRA has a few thousand parameters to train beside a frozen weight of millions.
    yield from (prefix + name for name, value in module.named_parameters(recurse=False) if value.requires_grad)
    buffers = dict(module.named_buffers(recurse=False))
    yield from (prefix + name for name in buffers if name not in module._non_persistent_buffers_set)
    for name, child in module.named_children():
        yield from _trained_keys(child, f'{prefix}{name}.')


def keys_beyond(model: nn.Module, base: Mapping[str, Tensor]) -> set[str]:
    """State keys of the model that `base`, under the model's names, does not hold, or holds with other values."""
    return {key for key, value in model.state_dict().items() if not _same(base.get(key), value)}


def _same(held: Tensor | None, value: Tensor) -> bool:
    """Whether loading `held` gives `value`."""
    return held is not None and held.shape == value.shape and torch.equal(held.to(value), value)


def base_file(model: nn.Module) -> str | None:
    """The checkpoint that the model's ``init_cfg`` of type 'Pretrained' names, as it stands in the config."""
    configs = getattr(model, 'init_cfg', None) or []
    for config in configs if isinstance(configs, (list, tuple)) else [configs]:
        if config.get('type') == 'Pretrained':
            return config['checkpoint']
    return None


def file_hash(name: str) -> str:
    """SHA-256 of a checkpoint file; names with a scheme are resolved as mmengine does.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = local_path(name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'base checkpoint {name}: no such file')
    return _file_hash(path, os.path.getmtime(path))


@lru_cache(maxsize=16)
def _file_hash(path: str, modified: float) -> str:
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def local_path(name: str) -> str:
    """A file path, or the path behind one of our ``mmsam_ext://`` names."""
    return asset_path(name) if name.startswith(PACKAGED) else os.path.expanduser(name)


def read_state(name: str) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, as it is there."""
    checkpoint = CheckpointLoader.load_checkpoint(name, map_location='cpu')
    return dict(checkpoint.get('state_dict', checkpoint))


def load_base_state(
    model: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    local_metadata: dict,
    rename: Callable[[dict[str, Tensor], str], None],
) -> None:
    """Complete a trainable-only state dict, in place, with the base that its metadata names. Others are left alone.

    The base is looked for where the model's own ``init_cfg`` says, then where it was in training. `rename` brings the
    base's keys to the model's names, in place.

    Raises:
        FileNotFoundError: the base is in neither place, or what is there is another file (by SHA-256).
    """
    base = local_metadata.get(KEY)
    if base is None:
        return
    tried = []
    for name in dict.fromkeys([base_file(model), base['file']]):
        if name is None:
            continue
        try:
            found = file_hash(name)
        except FileNotFoundError:
            tried.append(f'{name}: no such file')
            continue
        if found != base['sha256']:
            tried.append(f'{name}: another file (SHA-256 {found[:12]}...)')
            continue
        print_log(f'Loads the trained part on the base {name}.', 'current')
        whole = {prefix + key: value for key, value in read_state(name).items()}
        rename(whole, prefix)
        state_dict.update({key: value for key, value in whole.items() if key not in state_dict})
        return
    raise FileNotFoundError(
        f'This checkpoint holds the trained part alone; its base {base["file"]} (SHA-256 {base["sha256"][:12]}...) is '
        f'needed too. Tried: {"; ".join(tried)}. Put it there, or set model.init_cfg.checkpoint to where it is.'
    )
