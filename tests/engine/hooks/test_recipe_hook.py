"""A training resumes only with the recipe that it was started with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmsam_ext.engine.hooks import RecipeHook
from mmsam_ext.engine.hooks.recipe_hook import recipe_of
from tests.naming import raises_naming
from tests.toy import ToyModel, toy_runner


def config(**changes: object) -> Config:
    base = dict(
        model=dict(type='Toy', backbone=dict(arch='tiny')),
        train_dataloader=dict(batch_size=8, num_workers=1, dataset=dict(type='Data', data_root='here', seed=1)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98))),
        param_scheduler=[dict(type='PolyLR', end=10)],
        randomness=dict(seed=0),
        work_dir='somewhere',
    )
    built = Config(base)
    built.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return built


def resumed(old: Config, new: Config, resume: bool = True, **options: object) -> None:
    """Save by `old`, resume by `new`."""
    hook, checkpoint = RecipeHook(**options), {}
    hook.before_save_checkpoint(SimpleNamespace(cfg=old), checkpoint)
    runner = SimpleNamespace(cfg=new, _resume=resume, _load_from='run/iter_7.pth', work_dir='run')
    hook.after_load_checkpoint(runner, checkpoint)


def test_flat_recipe() -> None:
    recipe = recipe_of(config())
    assert recipe['optim_wrapper.optimizer.lr'] == '0.001' and recipe['optim_wrapper.optimizer.betas.1'] == '0.98'
    assert recipe['param_scheduler.0.type'] == "'PolyLR'" and not any(key.startswith('work_dir') for key in recipe)
    assert recipe_of(config(optim_wrapper__optimizer__betas=[0.9, 0.98])) == recipe  # a list is a tuple, dumped


@pytest.mark.parametrize(
    ('change', 'value', 'old'),
    [
        ('optim_wrapper__optimizer__lr', 0.5, '0.001'),
        ('model__backbone__arch', 'base', "'tiny'"),
        ('train_dataloader__dataset__seed', 2, '1'),
        ('param_scheduler__0__end', 99, '10'),
        ('model__extra', True, 'absent'),
    ],
)
def test_another_recipe_is_named(change: str, value: object, old: str) -> None:
    with raises_naming(ValueError, 'run/iter_7.pth') as error:
        resumed(config(), config(**{change: value}))
    message = str(error.value)
    assert change.replace('__', '.') in message and old in message and repr(value) in message


def test_what_may_differ() -> None:
    moved = config(train_dataloader__dataset__data_root='there', train_dataloader__num_workers=4, work_dir='x')
    resumed(config(), moved)
    faster = config(optim_wrapper__optimizer__lr=0.5)
    resumed(config(), faster, allow=['optim_wrapper.*'])
    resumed(config(), faster, resume=False)  # a new training from the weights
    runner = SimpleNamespace(cfg=faster, _resume=True, _load_from=None, work_dir='run')
    RecipeHook().after_load_checkpoint(runner, {})  # a checkpoint from before this hook


def test_in_a_runner(tmp_path: Path) -> None:
    """A checkpoint of a real run holds the recipe; resuming with another recipe writes nothing."""

    def run(iterations: int, rate: float, resume: bool) -> ToyModel:
        runner = toy_runner(
            tmp_path,
            iterations,
            resume=resume,
            custom_hooks=[dict(type='RecipeHook')],
            cfg=dict(optim_wrapper=dict(optimizer=dict(lr=rate))),
        )
        runner.train()
        return runner.model

    run(2, 0.1, resume=False)
    with raises_naming(ValueError, 'optim_wrapper.optimizer.lr', '0.1', '0.7'):
        run(4, 0.7, resume=True)
    assert not (tmp_path / 'iter_4.pth').exists()
    run(4, 0.1, resume=True)
    checkpoint = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    assert checkpoint['recipe'] == {
        'model': 'None',
        'train_dataloader': 'None',
        'optim_wrapper.optimizer.lr': '0.1',
        'param_scheduler': 'None',
        'randomness': 'None',
    }
