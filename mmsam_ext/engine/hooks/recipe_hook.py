"""A training is resumed by the recipe that it was started with, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS

KEY = 'recipe'
#: The parts of a config that decide what a training computes.
PARTS = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'randomness')
#: Where data lies and how it is fetched changes nothing.
FREE = (
    '*.data_root',
    '*.photographs',
    'train_dataloader.num_workers',
    'train_dataloader.persistent_workers',
    'train_dataloader.pin_memory',
    'train_dataloader.prefetch_factor',
    'model.init_cfg*',
)


@HOOKS.register_module()
class RecipeHook(Hook):
    """Keeps the recipe of a training in its checkpoints, and stops a resumed training whose recipe is another.

    The recipe is what the config says of model, training data, optimizer, schedule and seed. Without this check a
    resumed training goes on with the optimizer's old settings from the checkpoint whatever the config says, or with
    other data than the figures in its log belong to. A checkpoint without a recipe passes, which is logged;
    ``load_from`` without ``resume``, which starts a new training, is not checked.

    Args:
        allow: Patterns (as of file names) of settings that may differ, such as 'train_dataloader.batch_size'. Paths of
            the data and settings of the data loader's workers always may.

    Raises:
        ValueError: on resuming, if settings differ; names the checkpoint, each setting and both values.

    Example:
        >>> custom_hooks = [dict(type='RecipeHook', allow=['param_scheduler*'])]
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.allow = (*FREE, *allow)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the recipe, as a flat dict of text."""
        checkpoint[KEY] = recipe_of(runner.cfg)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare, before weights are loaded."""
        if not runner._resume:  # noqa: SLF001 (mmengine has no public name for it)
            return
        old = checkpoint.get(KEY)
        if old is None:
            print_log('RecipeHook: the checkpoint does not say by which recipe it was trained', logger='current')
            return
        new = recipe_of(runner.cfg)
        absent = '(absent)'
        changed = [
            f'{key}: {old.get(key, absent)} in the checkpoint, {new.get(key, absent)} in the config'
            for key in dict.fromkeys((*old, *new))
            if old.get(key) != new.get(key) and not any(fnmatchcase(key, pattern) for pattern in self.allow)
        ]
        if changed:
            listed = '\n  '.join(changed[:12]) + (f'\n  and {len(changed) - 12} more' if len(changed) > 12 else '')
            source = runner._load_from or runner.work_dir  # noqa: SLF001
            raise ValueError(
                f'{source}: cannot resume by another recipe:\n  {listed}\nRestore these '
                'settings; or start a new training from the weights (load_from=FILE without resume, in another '
                'work_dir); or name them in RecipeHook(allow=[...])'
            )


def recipe_of(config: Any) -> dict[str, str]:
    """Flatten the parts of a config that make up the recipe: 'optim_wrapper.optimizer.lr' -> '0.001'."""
    return {key: repr(value) for part in PARTS for key, value in _leaves(part, config.get(part))}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each setting below `value` with its dotted name; tuples and lists are alike, as config files make them."""
    if isinstance(value, dict) and value:
        for key in sorted(value, key=str):
            yield from _leaves(f'{name}.{key}', value[key])
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from _leaves(f'{name}.{index}', item)
    else:
        yield name, [] if isinstance(value, tuple) else value
