"""What identifies an image encoder and an image, so that a stored embedding is used for nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: Types of module attributes that are settings, such as the number of heads or the size of a window.
_SETTINGS = (bool, int, float, str, type(None))


def encoder_parts(model: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a segmentor that turn an image into its embedding: `backbone` and, if any, `neck`."""
    return {name: getattr(model, name) for name in ('backbone', 'neck') if getattr(model, name, None) is not None}


def fingerprint(parts: Mapping[str, nn.Module]) -> str:
    """Hash the classes, the settings, the parameters and the buffers of modules.

    Settings are the public attributes of each module that are numbers, texts, or sequences of these. They include what
    a parameter does not show, such as the number of heads.

    Args:
        parts: Name -> module.

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256()
    for part, root in parts.items():
        for name, module in root.named_modules():
            head = [part, name, type(module).__name__, _settings(module)]
            digest.update(json.dumps(head, sort_keys=True).encode())
        for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
            digest.update(json.dumps([part, name, str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def image_digest(image: Tensor) -> str:
    """Hash the pixels, the shape and the dtype of an image as the data pipeline returns it, before normalisation.

    Args:
        image: (C, H, W).

    Returns:
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256(f'{image.dtype} {tuple(image.shape)} '.encode())
    digest.update(_bytes(image))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    array = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return memoryview(array)  # pyright: ignore[reportArgumentType] (numpy declares its buffer from Python 3.12 on)


def _settings(module: nn.Module) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, (tuple, list)) else value
        for name, value in vars(module).items()
        if not name.startswith('_') and name != 'training' and _is_setting(value)
    }


def _is_setting(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(isinstance(item, _SETTINGS) for item in value)
    return isinstance(value, _SETTINGS)
