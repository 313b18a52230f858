"""What a checkpoint must hold before a promptable segmentor takes it: mmengine itself loads non-strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from .families import MIXED, SHORT_NAMES, family
from .formats import COMPILED, Format, describe, strip_wrapping, translate

#: Modules that have a part in training alone: a model without them takes a checkpoint that has them.
TRAINING_ONLY = ('auxiliary_heads.', 'scene_head.')
#: How many keys an error lists.
LISTED = 5


def rename_official_keys(state_dict: dict[str, Tensor], prefix: str = '') -> Format | None:
    """Take wrappers' names off the keys, and rename those of other implementations to ours, in place.

    Returns:
        The format that the keys had, None where it is unknown.
    """
    strip_wrapping(state_dict, prefix)
    source = translate(state_dict, prefix)
    theirs, ours = f'{prefix}image_encoder.', f'{prefix}backbone.'
    for key in list(state_dict):  # parts of a SAM, or a SAM with additions
        if key in (f'{prefix}pixel_mean', f'{prefix}pixel_std'):
            del state_dict[key]
        elif key.startswith(theirs):
            state_dict[ours + key.removeprefix(theirs)] = state_dict.pop(key)
    return source


def adapt_state(model: nn.Module, state_dict: dict[str, Tensor], prefix: str = '') -> None:
    """Let modules that hold plain SAM's weights in another place (``adapt_state``) move the keys there, in place.

    Auxiliary heads that the model does not have are left out, and parts that are compiled get their names.
    """
    _drop_training_only(model, state_dict, prefix)
    for key in [key for key in model.state_dict() if COMPILED in key]:
        plain = prefix + key.replace(COMPILED, '')
        if plain in state_dict:
            state_dict[prefix + key] = state_dict.pop(plain)
    for name, module in model.named_modules():
        adapt = getattr(module, 'adapt_state', None)
        if name and adapt is not None:
            adapt(state_dict, f'{prefix}{name}.')


def _drop_training_only(model: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> None:
    owned = tuple(part for part in TRAINING_ONLY if any(key.startswith(part) for key in model.state_dict()))
    foreign = tuple(prefix + part for part in TRAINING_ONLY if part not in owned)
    dropped = [key for key in state_dict if key.startswith(foreign)]
    for key in dropped:
        del state_dict[key]
    if dropped:
        print_log(f'Left out of the checkpoint: {len(dropped)} tensors of auxiliary heads (training only).', 'current')


def added_keys(model: nn.Module) -> dict[str, set[str]]:
    """State keys that plain SAM does not have, by the module that adds them.

    A module says so by ``added_to_sam = True`` (everything below it), or by a tuple of names of its own parameters.
    """
    added: dict[str, set[str]] = {}
    for name, module in model.named_modules():
        mark = getattr(module, 'added_to_sam', False)
        dot = name + '.' if name else ''
        if mark is True and not any(name.startswith(outer + '.') for outer in added):
            added[name] = {dot + key for key in module.state_dict()}
        elif isinstance(mark, tuple):
            added[name] = {dot + key for key in mark}
    return added


def check_state(
    model: nn.Module, state_dict: Mapping[str, Tensor], prefix: str = '', source: Format | None = None
) -> tuple[str, ...]:
    """Check that a state dict (with our key names) fits the model.

    Modules that SAM does not have may be missing as a whole, never in part. They are left at their initial values: fine
    where a training starts, and an error where a model is used (see :func:`untrained_parts`).

    Args:
        model: The model.
        state_dict: With our key names.
        prefix: Of the model's keys in it.
        source: The format that the file had, for the error.

    Returns:
        The names of the modules that are missing.

    Raises:
        ValueError: keys are missing, unknown or of another shape, or values are not finite or no floating-point
            numbers; the error lists them and guesses why.
    """
    wanted = {prefix + key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    given = {key: value for key, value in state_dict.items() if key.startswith(prefix)}
    shapes = [
        f'{key}: checkpoint {tuple(given[key].shape)}, model {tuple(value.shape)}'
        for key, value in wanted.items()
        if key in given and tuple(given[key].shape) != tuple(value.shape)
    ]
    missing = {key for key in wanted if key not in given and not key.endswith('num_batches_tracked')}
    fresh = []
    for name, keys in added_keys(model).items():
        keys = {prefix + key for key in keys if not key.endswith('num_batches_tracked')}
        if keys and keys <= missing:
            fresh.append(name)
            missing -= keys
    unknown = sorted(set(given) - set(wanted))
    if not (shapes or missing or unknown):
        _check_values(model, wanted, given, prefix)
        if fresh:
            plain = ' These are the weights of a plain SAM.' if len(fresh) == len(added_keys(model)) else ''
            print_log(f'The checkpoint has nothing for {_named(fresh)}: left at the initial values.{plain}', 'current')
        return tuple(fresh)
    came, expected = family(given, prefix), family(wanted, prefix)
    known = describe([key.removeprefix(prefix) for key in given] if source is None else source)
    lines = ['The checkpoint does not fit the model.']
    if came and expected and came != expected:
        lines.append(f'The file is {came}; the model is {expected}.')
        if MIXED in expected:
            known = (
                'Such a model takes no published file: give model.backbone, model.prompt_encoder and '
                'model.mask_decoder of one family.'
            )
        elif came in SHORT_NAMES:
            known = f'Take --model {SHORT_NAMES[came]} or a config of {came} for this file, or a file of {expected}.'
    if known or not set(given) & set(wanted):
        lines.append(known or 'No key fits: this is not a checkpoint of a SAM, nor one of this project.')
    lines += _listing('of another shape (another architecture?)', shapes)
    lines += _listing('missing from the checkpoint', sorted(missing))
    lines += _listing('unknown to the model', unknown)
    raise ValueError('\n'.join(lines))


def _check_values(model: nn.Module, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], prefix: str) -> None:
    """Check that weights are numbers with which a model predicts anything.

    Raises:
        ValueError: Floating-point weights that are integers or complex numbers in the file, NaN, or infinite.
    """
    parameters = {prefix + name for name, _ in model.named_parameters()}
    kinds, values = [], []
    for key, value in wanted.items():
        came = given.get(key)
        if came is None or not value.is_floating_point() or came.is_meta:
            continue
        if not came.is_floating_point():
            kinds.append(f'{key}: {came.dtype}')
        elif not torch.isfinite(came.sum(dtype=torch.float64)) and (key in parameters or came.isnan().any()):
            values.append(key)  # a buffer may be infinite, as masks of attention are
    if kinds or values:
        lines = ['The weights of the checkpoint cannot be used.']
        lines += _listing('not floating-point numbers', kinds)
        lines += _listing('NaN or infinite (a training that diverged?)', values)
        raise ValueError('\n'.join(lines))


def _named(names: Sequence[str]) -> str:
    more = f' and {len(names) - LISTED} more' if len(names) > LISTED else ''
    return ', '.join(names[:LISTED]) + more


def untrained_parts(model: nn.Module, missing: Sequence[str]) -> str:
    """Describe the modules that a checkpoint should have brought for predictions; '' where it brought all.

    Args:
        model: A promptable segmentor.
        missing: What :func:`check_state` returned.
    """
    needed = [name for name in missing if not f'{name}.'.startswith(TRAINING_ONLY)]
    if not needed:
        return ''
    creating = [name for name in needed if getattr(model.get_submodule(name), 'creates_prompt', False)]
    effect = (
        f'{_named(creating)} would make its prompts from weights that were never trained'
        if creating
        else 'they start as identities, so the masks would be those of the plain SAM'
    )
    random = [name for name in needed if _untrained_effect(model, name)]
    if random:
        effect = f'{_named(random)} {_untrained_effect(model, random[0])}'
    return (
        f'the checkpoint has no weights for {_named(needed)}, which this config adds to SAM and which training brings: '
        f'{effect}'
    )


def _untrained_effect(model: nn.Module, name: str) -> str:
    """Return what the decoder around a part that it adds to SAM says of an untrained one; '' where it says nothing."""
    return getattr(model.get_submodule(name.rpartition('.')[0]), 'untrained_effect', '')


def forgive_missing(model: Any, keys: Any) -> None:
    """Take what :func:`check_state` allowed to be missing from the list that mmengine would warn of, in place.

    A hook for ``register_load_state_dict_post_hook``. Where torch's own ``load_state_dict`` calls it, its list is kept:
    ``strict=True`` needs it, and who says ``strict=False`` accepts what is missing.

    Args:
        model: A promptable segmentor, which keeps what was allowed in its `unloaded_parts`.
        keys: The keys that torch or mmengine collected, with the list `missing_keys`.
    """
    if isinstance(keys, torch.nn.modules.module._IncompatibleKeys):  # noqa: SLF001 (torch has no public name for it)
        model.unloaded_parts = ()
        return
    added = added_keys(model)
    allowed = {key for name in model.unloaded_parts for key in added.get(name, ())}
    keys.missing_keys[:] = [
        key for key in keys.missing_keys if not any(key == own or key.endswith(f'.{own}') for own in allowed)
    ]


def _listing(title: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f'\n    ... and {len(items) - LISTED} more' if len(items) > LISTED else ''
    return [f'  {len(items)} {title}:\n    ' + '\n    '.join(items[:LISTED]) + more]
