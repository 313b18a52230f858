from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmsam_ext.config_files import known_configs, packaged_config
from mmsam_ext.config_settings import settle
from tests.naming import raises_naming

LEARNING = dict(
    adamw_600=[(0, 50), (50, 600)],
    adamw_1500=[(0, 50), (50, 1500)],
    adamw_20k=[(0, 500), (500, 20000)],
    pretrain_1800=[(0, 50), (50, 1800)],
)


@pytest.mark.parametrize('name', LEARNING)
def test_shares_are_the_published_iterations(name: str) -> None:
    config = settle(Config.fromfile(packaged_config(f'_base_/schedules/{name}')))
    assert [(piece.begin, piece.end) for piece in config.param_scheduler] == LEARNING[name]


def test_milestones() -> None:
    for name, milestone in (('spt', 18750), ('hqseg44k_12_epochs', 13850)):
        config = settle(Config.fromfile(packaged_config(f'_base_/schedules/{name}')))
        assert config.param_scheduler[0].milestones == [milestone]


@pytest.mark.parametrize(('iterations', 'pieces'), [(300, [(0, 25), (25, 300)]), (4, [(0, 1), (0, 4)])])
def test_max_iters_alone_stretches_the_schedule(iterations: int, pieces: list[tuple[int, int]]) -> None:
    """A warm-up keeps at least one iteration; a second call changes nothing."""
    config = Config.fromfile(packaged_config('_base_/schedules/adamw_600'))
    config.train_cfg.max_iters = iterations
    for _ in range(2):
        settle(config)
        assert [(piece.begin, piece.end) for piece in config.param_scheduler] == pieces


def test_epochs_and_whole_numbers() -> None:
    schedule = [dict(type='StepLR', begin=0.5, step_size=3), dict(type='LinearLR', by_epoch=False, begin=1, end=7)]
    config = settle(Config(dict(train_cfg=dict(max_epochs=10), param_scheduler=schedule)))
    assert config.param_scheduler[0].begin == 5 and config.param_scheduler[1].end == 7


@pytest.mark.parametrize('share', [1.5, -0.25])
def test_a_share_out_of_range(share: float) -> None:
    config = Config(dict(train_cfg=dict(max_iters=10), param_scheduler=[dict(by_epoch=False, begin=share)]))
    with raises_naming(ValueError, 'param_scheduler[0].begin', share):
        settle(config)


def test_one_place_sets_the_input_size() -> None:
    config = Config.fromfile(packaged_config('spt_tiny_mtd'))
    config.input_size = (320, 512)
    settle(config)
    assert tuple(config.model.data_preprocessor.size) == (320, 512)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        scales = [tuple(step.scale) for step in loader.dataset.pipeline if step.type == 'Resize']
        assert scales == [(512, 320)]


@pytest.mark.parametrize('size', [384, (384,), (0, 384), (384.0, 384), 'large'])
def test_a_wrong_input_size(size: object) -> None:
    with raises_naming(ValueError, 'input_size'):
        settle(Config(dict(model=dict(), input_size=size)))


def test_every_config_settles_to_a_schedule_within_its_training() -> None:
    for name, path in known_configs().items():
        config = settle(Config.fromfile(path))
        for piece in config.get('param_scheduler') or ():
            points = [piece.get('begin', 0), *piece.get('milestones', ()), *([piece.end] if 'end' in piece else [])]
            assert all(type(point) is int for point in points), name
            assert points == sorted(points) and points[-1] <= config.train_cfg.max_iters, name


def test_a_runner_settles_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MMSegmentation's own train.py calls ``Runner.from_cfg``; the config it was given stays as it is."""
    from mmengine.runner import Runner

    seen = {}
    monkeypatch.setattr(Runner, '__init__', lambda self, **options: seen.update(options))
    schedule = [dict(type='LinearLR', by_epoch=False, begin=0, end=0.5)]
    config = Config(dict(model={}, work_dir=str(tmp_path), train_cfg=dict(max_iters=8), param_scheduler=schedule))
    Runner.from_cfg(config)
    assert seen['param_scheduler'][0]['end'] == 4 and seen['cfg'].param_scheduler[0].end == 4
    assert config.param_scheduler[0].end == 0.5
