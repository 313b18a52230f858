"""Put PEFT layers into a model by rules, and take them out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from mmseg.registry import MODELS
from torch import nn

from .lora import PEFTLinear

T = TypeVar('T')


def inject_peft(model: nn.Module, rules: Sequence[dict] | Mapping[str, dict | None]) -> list[str]:
    """Replace linear layers by PEFT layers, in place.

    Args:
        model: Any module.
        rules: Each a dict of ``type`` ('LoRA', 'DoRA' or 'Adapter'), ``modules``, a regular expression searched in the
            full names of linear layers, and the arguments of the layer. In a dict of named rules, a rule may be
            None, so that a config can switch off the rule of that name.

    Returns:
        The names of the layers replaced, in the order of the model.

    Raises:
        ValueError: a rule without ``modules`` and ``type`` or that matches no linear layer, two rules for one layer, or
            arguments that do not fit the layer; the error names the rule and the layer.
    """
    if isinstance(rules, Mapping):
        rules = [rule for rule in rules.values() if rule is not None]
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen: dict[str, dict] = {}
    for rule in rules:
        pattern = _check_rule(rule)
        matches = [name for name in linears if pattern.search(name)]
        if not matches:
            raise ValueError(f'PEFT rule {rule}: matches none of the {len(linears)} linear layers')
        twice = [name for name in matches if name in chosen or isinstance(linears[name], PEFTLinear)]
        if twice:
            raise ValueError(f'PEFT rule {rule}: {twice[0]} has a PEFT layer already; expected one rule for a layer')
        chosen.update(dict.fromkeys(matches, rule))
    names = [name for name in linears if name in chosen]
    for name in names:
        options = {key: value for key, value in chosen[name].items() if key != 'modules'}
        try:
            layer = MODELS.build(options, default_args=dict(linear=linears[name]))
        except (TypeError, ValueError) as error:
            raise ValueError(f'PEFT rule {chosen[name]} on {name}: {error}') from error
        _replace(model, name, layer)
    return names


def _check_rule(rule: dict) -> re.Pattern:
    """Return the compiled pattern of a rule's ``modules``.

    Raises:
        ValueError: The pattern or the type of PEFT layer is missing or invalid; the error names the rule.
    """
    if 'modules' not in rule:
        raise ValueError(f'PEFT rule {rule}: field `modules` is missing, expected a regular expression')
    if 'type' not in rule:
        raise ValueError(f"PEFT rule {rule}: field `type` is missing, expected 'LoRA', 'DoRA' or 'Adapter'")
    kind = MODELS.get(rule['type']) if isinstance(rule['type'], str) else rule['type']
    if not (isinstance(kind, type) and issubclass(kind, PEFTLinear)):
        raise ValueError(
            f"PEFT rule {rule}: type={rule['type']!r}, expected 'LoRA', 'DoRA', 'Adapter' or another PEFTLinear"
        )
    try:
        return re.compile(rule['modules'])
    except (TypeError, re.error) as error:
        raise ValueError(
            f'PEFT rule {rule}: modules={rule["modules"]!r} is not a valid regular expression: {error}'
        ) from error


def merge_peft(model: nn.Module) -> list[str]:
    """Fold every PEFT layer into a plain linear layer, in place.

    Returns:
        The names of the layers merged.

    Raises:
        ValueError: The model has no PEFT layer, for example because it was merged before.
        TypeError: A layer cannot be merged (Adapter); the error names it, and nothing is changed.
    """
    merged = _of_each_layer(
        model, lambda layer: layer.merged(), 'no PEFT layer to merge; was the model merged already?'
    )
    for name, linear in merged.items():
        _replace(model, name, linear)
    return list(merged)


def unmerge_peft(model: nn.Module) -> list[str]:
    """Subtract what PEFT layers add from weights that they were merged into, in place.

    This undoes :func:`merge_peft`, for a model with PEFT layers that has loaded merged weights.

    Returns:
        The names of the layers.

    Raises:
        ValueError: The model has no PEFT layer.
        TypeError: A layer does not support unmerging (DoRA loses the lengths of the rows, an Adapter is never merged);
            the error names it, and nothing is changed.
    """
    weights = _of_each_layer(model, lambda layer: layer.unmerged_weight(), 'no PEFT layer to take out of the weights')
    for name, weight in weights.items():
        model.get_parameter(f'{name}.weight').data = weight
    return list(weights)


def _of_each_layer(model: nn.Module, compute: Callable[[PEFTLinear], T], if_none: str) -> dict[str, T]:
    """Return what `compute` makes of each PEFT layer, by the layer's name, and change nothing.

    Raises:
        ValueError: The model has no PEFT layer; the message is `if_none`.
        TypeError: As `compute` raises it, with the name of the layer.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, PEFTLinear)}
    if not layers:
        raise ValueError(if_none)
    computed = {}
    for name, layer in layers.items():
        try:
            computed[name] = compute(layer)
        except TypeError as error:
            raise TypeError(f'{name}: {error}') from error
    return computed


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, attribute = name.rpartition('.')
    setattr(model.get_submodule(parent), attribute, layer)
