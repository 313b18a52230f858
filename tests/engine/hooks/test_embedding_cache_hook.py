"""Whole trainings with the embedding cache, and the command that fills it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS

from mmsam_ext.cli import precompute
from mmsam_ext.models.caching import DiskStore
from tests.models.small import randomise
from tests.naming import assert_names, raises_naming
from tests.shrink import CONFIGS, shrink, spare_formatting
from tests.toy import ToyModel, toy_runner


@pytest.fixture(autouse=True)
def unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_formatting(monkeypatch)


def training(folder: Path, cache: dict[str, Any] | None = None, iterations: int = 6) -> Config:
    """A shrunk training, one image a step, on 4 images that are flipped but not distorted: 12 in all."""
    config = shrink(CONFIGS / 'plm_tiny_mtd.py', folder, iterations=iterations)
    pipeline = config.train_dataloader.dataset.pipeline
    config.train_dataloader.dataset.pipeline = [step for step in pipeline if step.type != 'PhotoMetricDistortion']
    config.train_dataloader.batch_size = 1
    config.default_hooks.checkpoint = None
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg'):
        config[name] = None
    if cache is not None:
        config.default_hooks.embedding_cache = dict(type='EmbeddingCacheHook', **cache)
    return config


class Losses(Hook):
    """Keeps the losses of each step, and counts images that the encoder sees."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.encoded = 0

    def before_train(self, runner: Runner) -> None:
        runner.model.backbone.register_forward_hook(self.count)

    def count(self, module: Any, args: tuple, output: Any) -> None:
        self.encoded += len(args[0])

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append({name: float(value) for name, value in outputs.items()})


def run(config: Config, weights: Path) -> Losses:
    config.load_from = str(weights)
    runner = Runner.from_cfg(config)
    runner.register_hook(watch := Losses())
    runner.train()
    assert runner.model.embedding_cache is None
    return watch


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = MODELS.build(training(tmp_path).model)
    randomise(model)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    return tmp_path / 'weights.pth'


def test_trainings_are_the_same_bit_for_bit(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture) -> None:
    """Without a cache, while it is filled, and after `precompute` filled another one, where nothing is encoded."""
    plain = run(training(tmp_path), weights)
    filling = run(training(tmp_path, dict(path=str(tmp_path / 'one'))), weights)
    assert filling.losses == plain.losses and len(plain.losses) == plain.encoded == 6
    found = run(training(tmp_path, dict(path=str(tmp_path / 'one'))), weights)
    assert found.losses == plain.losses and found.encoded == 0 < filling.encoded

    config = training(tmp_path, dict(path=str(tmp_path / 'two')))
    config.dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), '--weights', str(weights), '--workers', '0', '--device', 'cpu']
    assert precompute.main(arguments) == 0
    assert_names(capsys.readouterr().err, '12 images encoded', '0 were there already')  # 4 images, each in 3 flips
    assert precompute.main(arguments) == 0
    assert_names(capsys.readouterr().err, '0 images encoded', '12 were there already')
    after = run(training(tmp_path, dict(path=str(tmp_path / 'two'))), weights)
    assert after.losses == plain.losses and after.encoded == 0


def test_in_memory(tmp_path: Path, weights: Path) -> None:
    plain, cached = (run(training(tmp_path, cache, iterations=14), weights) for cache in (None, {}))
    assert cached.losses == plain.losses and cached.encoded <= 12 < plain.encoded


@pytest.mark.parametrize('case', ['random transform', 'trained encoder', 'no encoder', 'no room'])
def test_bad_input(case: str, tmp_path: Path, weights: Path) -> None:
    if case == 'no room':
        with raises_naming(ValueError, 'EmbeddingCacheHook', 'max_gib=0'):
            HOOKS.build(dict(type='EmbeddingCacheHook', max_gib=0))
    elif case == 'no encoder':
        runner = toy_runner(tmp_path, default_hooks=dict(cache=dict(type='EmbeddingCacheHook')))
        with raises_naming(ValueError, ToyModel.__name__, 'PromptableSegmentor'):
            runner.train()
    else:
        config = training(tmp_path, dict(path=str(tmp_path / 'cache')))
        if case == 'random transform':
            config.train_dataloader.dataset.pipeline.insert(3, dict(type='PhotoMetricDistortion'))
            names = ('PhotoMetricDistortion', 'MTDDataset', 'EnumeratedVariants')
        else:
            config.model.trainable = [r'^backbone\.neck\.', *config.model.trainable]
            names = ('backbone.neck.0.weight', 'trainable')
        with raises_naming(ValueError, *names):
            run(config, weights)
        config.dump(tmp_path / 'config.py')
        with raises_naming(ValueError, *names):
            precompute.main([str(tmp_path / 'config.py'), '--weights', str(weights), '--workers', '0'])


def test_precompute_stops_where_the_cache_is_too_small_or_has_no_folder(tmp_path: Path, weights: Path) -> None:
    training(tmp_path, {}).dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), '--weights', str(weights), '--workers', '0']
    with raises_naming(ValueError, tmp_path / 'config.py', '--path'):
        precompute.main(arguments)
    small = ['--path', str(tmp_path / 'cache'), '--max-gib', '1e-5']
    with raises_naming(OSError, tmp_path / 'cache', 'max_gib'):
        precompute.main([*arguments, *small])
    assert isinstance(DiskStore(tmp_path / 'cache', 'e' * 64, 1), DiskStore)  # what was written is readable


def test_every_shipped_pipeline_is_either_taken_or_named() -> None:
    """Configs with a frozen encoder whose training can be cached as it is."""
    from mmsam_ext.datasets.fixed_images import FIXED

    clean = Config.fromfile(CONFIGS / 'pt_sam_vitl_hqseg44k.py').train_dataloader.dataset
    steps = [*clean.dataset.pipeline, *clean.pipeline]
    assert {step.type for step in steps} <= FIXED
