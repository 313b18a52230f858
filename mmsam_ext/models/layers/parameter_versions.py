"""Whether what was computed with a module's weights still holds."""

from __future__ import annotations

import torch
from torch import nn


def parameter_versions(module: nn.Module) -> tuple[int, ...] | None:
    """The version of each parameter, which changes with its values; None where there is none: of parameters made under
    ``torch.inference_mode``, and in ``torch.compile``, which cannot look at them.
    """
    if torch.compiler.is_compiling():
        return None
    parameters = tuple(module.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return None
    return tuple(parameter._version for parameter in parameters)  # noqa: SLF001 (torch has no public one)
