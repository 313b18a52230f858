"""Freezing: one list of patterns decides what is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn


def freeze_all_but(model: nn.Module, patterns: Sequence[str] | None) -> None:
    """Set ``requires_grad`` of every parameter: True if a pattern matches its name, else False.

    Args:
        model: Any module.
        patterns: Regular expressions, searched in the full parameter name ('mask_decoder' matches
            'mask_decoder.iou_token.weight'); () freezes everything, None leaves everything as it is.

    Raises:
        ValueError: `patterns` is a string, or a pattern is not a regular expression or matches no parameter.
    """
    if patterns is None:
        return
    if isinstance(patterns, str):
        raise ValueError(f'trainable={patterns!r} is one string, expected a list of regular expressions')
    names = [name for name, _ in model.named_parameters()]
    trained: set[str] = set()
    for pattern in patterns:
        try:
            matched = {name for name in names if re.search(pattern, name)}
        except re.error as error:
            raise ValueError(f'trainable pattern {pattern!r} is not a regular expression: {error}') from error
        if not matched:
            raise ValueError(
                f'trainable pattern {pattern!r} matches no parameter; the model has parameters under '
                f'{sorted({".".join(name.split(".")[:2]) for name in names})}'
            )
        trained |= matched
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def keep_frozen_in_eval(module: nn.Module) -> None:
    """Put every subtree whose parameters are all frozen into eval mode (dropout, batch norm and so on)."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
    else:
        for child in module.children():
            keep_frozen_in_eval(child)
