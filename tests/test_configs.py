"""Every shipped config: its form, and that it runs, shrunk."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.naming import raises_naming
from tests.shrink import CONFIGS, shrink, spare_formatting

RUNNABLE = sorted(CONFIGS.glob('*.py'))
PIECES = sorted(CONFIGS.glob('_base_/**/*.py'))


pytestmark = pytest.mark.usefixtures('unformatted')


@pytest.fixture
def unformatted(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_formatting(monkeypatch)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize('path', RUNNABLE + PIECES, ids=name)
def test_form(path: Path) -> None:
    """Short, and standing on relative bases alone: others are resolved before our package is imported. One shows that
    MMSegmentation's dataset configs serve as they are."""
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    bases: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            value = ast.literal_eval(node.value)
            bases = [value] if isinstance(value, str) else list(value)
    for base in bases:
        if (path.name, base) == ('ods_sam_vitb_chase_db1.py', 'mmseg::_base_/datasets/chase_db1.py'):
            continue
        assert '::' not in base and not Path(base).is_absolute()
        assert (path.parent / base).is_file(), base


@pytest.mark.parametrize('path', RUNNABLE, ids=name)
def test_names_our_package(path: Path) -> None:
    assert 'mmsam_ext' in Config.fromfile(path).custom_imports.imports


#: Metrics that take no prompts, and their keys.
FOREGROUND = {
    'EMeasure': {'mE', 'maxE', 'adpE'},
    'MAE': {'MAE'},
    'DiceIoU': {'Dice', 'IoU'},
    'IoUMetric': {'aAcc'},  # MMSegmentation's own
}


def expected_keys(evaluator: Any, pipeline: list[dict]) -> set[str]:
    """The keys of results that the prompt modes of a pipeline lead to."""
    modes = next((step['modes'] for step in pipeline if step['type'] == 'GeneratePrompts'), {})
    keys = set()
    for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
        if metric['type'] == 'PromptIoUMetric':
            names = ('mIoU', 'mBIoU') if metric.get('boundary', True) else ('mIoU',)
            names += ('clDice', 'BF1') if metric.get('thin') else ()
            keys |= {*names, *(f'{name}/{mode}' for name in names for mode in modes)}
        if metric['type'] == 'StabilityMetric' or metric.get('stability'):
            keys |= {'ST', *(f'ST/{mode}' for mode, fields in modes.items() if fields.get('draws', 1) > 1)}
        elif metric['type'] in FOREGROUND:
            keys |= {f'{metric.get("prefix", "")}/{key}'.strip('/') for key in FOREGROUND[metric['type']]}
        elif metric['type'] == 'CocoMaskAP':
            modes = next(step.get('modes', ['box']) for step in pipeline if step['type'] == 'LoadPrompts')
            keys |= {'AP', 'AP50', *(f'AP/{mode}' for mode in modes)}
        elif metric['type'] == 'AnomalyMetric':
            names = ('pixel_AUROC', 'pixel_AP', 'pixel_F1Max', *['image_false_alarms'] * ('recall' in metric))
            keys |= {f'{metric.get("prefix", "")}/{name}'.strip('/') for name in names}
        elif metric['type'] == 'NoCMetric':
            keys |= {'NoC80', 'NoC85', 'NoC90', 'IoU@1'}
    return keys


@pytest.mark.parametrize('path', RUNNABLE, ids=name)
def test_runs(path: Path, tmp_path: Path) -> None:
    """Two steps of training and a validation, where it trains, and a test."""
    if 'coco' in path.name or 'sginw' in path.name:
        pytest.importorskip('pycocotools')
    cfg = shrink(path, tmp_path)
    assert ('train_dataloader' in cfg) == ('train_cfg' in cfg) == ('optim_wrapper' in cfg)
    runner = Runner.from_cfg(cfg)
    if 'train_dataloader' in cfg:
        runner.train()
        scalars = runner.message_hub.log_scalars
        losses = [key for key in scalars if key.startswith('train/') and 'loss' in key]
        assert {'train/loss', *(f'train/loss_{loss}' for loss in cfg.model.losses)} <= set(losses)
        assert all(len(scalars[key].data[0]) == 2 and math.isfinite(scalars[key].current()) for key in losses)
        validated = {key.removeprefix('val/'): value.current() for key, value in scalars.items() if key[:4] == 'val/'}
        check_results(validated, expected_keys(cfg.val_evaluator, pipeline_of(cfg.val_dataloader.dataset)))
        assert (tmp_path / 'work' / 'iter_2.pth').is_file()
    check_results(runner.test(), expected_keys(cfg.test_evaluator, pipeline_of(cfg.test_dataloader.dataset)))


def pipeline_of(dataset: Config) -> list[dict]:
    """Of a dataset, or of the first of several."""
    return dataset.pipeline if 'pipeline' in dataset else dataset.datasets[0].pipeline


def check_results(results: dict[str, float], expected: set[str]) -> None:
    assert expected and expected <= set(results)
    assert all(0 <= results[key] <= 100 for key in expected), results


ZERO_SHOT = [path for path in RUNNABLE if Config.fromfile(path).model.get('trainable') == ()]


@pytest.mark.parametrize('path', ZERO_SHOT, ids=name)
def test_zero_shot_config_refuses_training(path: Path, tmp_path: Path) -> None:
    """A zero-shot config with training data but without `trainable` is an error."""
    cfg = shrink(path, tmp_path)
    train = shrink(CONFIGS / 'sam_tiny_synthetic.py', tmp_path)
    cfg.update({key: train[key] for key in ('train_dataloader', 'train_cfg', 'optim_wrapper')})
    cfg.train_cfg.pop('val_interval')
    with raises_naming(ValueError, 'model.trainable'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize(
    'place',
    [
        'model.type',
        'model.data_preprocessor.type',
        'model.backbone.type',
        'model.prompt_encoder.type',
        'model.mask_decoder.type',
        'model.losses.dice.type',
        'train_dataloader.dataset.type',
        'train_dataloader.dataset.pipeline.1.type',
        'test_evaluator.0.type',
        'optim_wrapper.constructor',
        'default_hooks.visualization.type',
        'custom_hooks.0.type',
        'visualizer.type',
    ],
)
def test_unknown_component(place: str, tmp_path: Path) -> None:
    """The error of an unknown component names it as the config does."""
    cfg = shrink(CONFIGS / 'sam_tiny_synthetic.py', tmp_path)
    cfg.merge_from_dict({place: 'NoSuchThing'})
    with raises_naming(Exception, 'NoSuchThing') as raised:
        runner = Runner.from_cfg(cfg)
        runner.train()
        runner.test()
    assert isinstance(raised.value, KeyError) or isinstance(raised.value.__cause__, KeyError)


def test_unknown_component_in_a_list(tmp_path: Path) -> None:
    cfg = shrink(CONFIGS / 'sam_tiny_synthetic.py', tmp_path)
    for field in ('prompt_stages', 'auxiliary_heads'):
        changed = cfg.copy()
        changed.model = dict(cfg.model, **{field: [dict(type='NoSuchThing')]})
        with raises_naming(KeyError, 'NoSuchThing'):
            Runner.from_cfg(changed)
