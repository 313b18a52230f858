"""Settings of a config that stand in one place and hold for all of it, applied before anything is built.

``input_size`` and shares of the training in ``param_scheduler``: see :func:`settle`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

#: Fields of a ``param_scheduler`` that hold iterations.
_POINTS = ('begin', 'end', 'T_max')


def settle(config: Config) -> Config:
    """Apply the settings that hold for a whole config, in place.

    - ``input_size = (height, width)``: the size of the network input. It sets ``model.data_preprocessor.size`` and the
      ``scale`` of every ``Resize`` in the pipelines of the three data loaders (not in ``tta_pipeline``, which has
      several sizes). Without it, these are left as they are.
    - In ``param_scheduler``, floats between 0 and 1 in `begin`, `end`, `T_max` and `milestones` are shares of
      ``train_cfg.max_iters`` (or ``max_epochs``, where `by_epoch` is set), so that ``max_iters`` alone shortens or
      lengthens the whole schedule. Whole numbers stay.

    Args:
        config: A config, with the overrides of the command line in it.

    Returns:
        The same config.

    Raises:
        ValueError: ``input_size`` is not two positive whole numbers, or a share lies outside [0, 1]; the message names
            the field.

    Example::

        >>> config = Config(dict(train_cfg=dict(max_iters=200), param_scheduler=[dict(begin=0.1, by_epoch=False)]))
        >>> settle(config).param_scheduler[0].begin
        20
    """
    size = config.get('input_size')
    if size is not None:
        _set_input_size(config, _checked_size(size))
    schedulers = config.get('param_scheduler') or ()
    train = config.get('train_cfg') or {}
    for index, scheduler in enumerate([schedulers] if isinstance(schedulers, dict) else schedulers):
        total = train.get('max_epochs' if scheduler.get('by_epoch', True) else 'max_iters')
        if total is not None:
            _settle_scheduler(scheduler, int(total), f'param_scheduler[{index}]')
    return config


def _checked_size(size: Any) -> tuple[int, int]:
    """Return (height, width)."""
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
        return int(size[0]), int(size[1])
    raise ValueError(f'input_size is {size!r}, expected (height, width) in pixels, two whole numbers above 0')


def _set_input_size(config: Config, size: tuple[int, int]) -> None:
    preprocessor = config.model.get('data_preprocessor') or config.get('data_preprocessor')
    if preprocessor is not None:
        preprocessor.size = size
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for node in _dicts(config.get(name)):
            if str(node.get('type', '')).rsplit('.')[-1] == 'Resize' and 'scale' in node:
                node['scale'] = size[::-1]


def _settle_scheduler(scheduler: dict, total: int, where: str) -> None:
    """Replace shares of `total` by iterations; a piece that had a length keeps at least one iteration."""
    has_length = 'end' in scheduler and scheduler.get('begin', 0) < scheduler['end']
    for field in _POINTS:
        if isinstance(scheduler.get(field), float):
            scheduler[field] = _iterations(scheduler[field], total, f'{where}.{field}')
    if has_length:
        scheduler['end'] = max(scheduler['end'], scheduler.get('begin', 0) + 1)
    milestones = scheduler.get('milestones')
    if milestones is not None:
        scheduler['milestones'] = [
            _iterations(point, total, f'{where}.milestones') if isinstance(point, float) else point
            for point in milestones
        ]


def _iterations(share: float, total: int, where: str) -> int:
    if not 0 <= share <= 1:
        raise ValueError(
            f'{where} is {share}, expected a share of the training between 0.0 and 1.0, or a whole number of iterations'
        )
    return round(share * total)


def _dicts(value: Any) -> Iterator[dict]:
    """Yield all dicts in a setting, outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _dicts(item)
