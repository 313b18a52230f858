from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsam_ext.apis.fitting import METHODS, make_plan, read_folder
from mmsam_ext.apis.fitting.config_text import config_text
from mmsam_ext.apis.fitting.plan import affordable_size, with_iterations, with_size
from mmsam_ext.config_settings import settle
from tests.naming import raises_naming


def write(folder: Path, thickness: int, size: tuple[int, int] = (60, 80), number: int = 10, value: int = 255) -> Path:
    """A folder of `number` images, every other one with a bar of `thickness` pixels; the last one has no mask."""
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        mask = np.zeros(size, np.uint8)
        if index % 2:
            mask[10 : 10 + thickness, 5:55] = value
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), mask)
        cv2.imwrite(str(folder / 'masks' / f'{index}.png'), mask)
    cv2.imwrite(str(folder / 'images' / 'new.png'), np.zeros(size, np.uint8))
    return folder


def test_facts_and_split(tmp_path: Path) -> None:
    facts = read_folder(write(tmp_path, 4))
    assert len(facts.images) == 10 and facts.normals == 5 and facts.unlabelled == 1
    assert facts.images[1].thickness == (4.0,) and facts.images[1].size == (60, 80) and not facts.images[0].defective
    assert sorted((*facts.train, *facts.val)) == sorted(one.name for one in facts.images)
    kinds = {name: int(name) % 2 for name in facts.val}
    assert sorted(kinds.values()) == [0, 1]  # one image in five, of both kinds
    assert read_folder(tmp_path).val == facts.val


def test_a_split_of_the_user_is_kept(tmp_path: Path) -> None:
    write(tmp_path, 4)
    (tmp_path / 'train.txt').write_text('1\n3\n')
    (tmp_path / 'val.txt').write_text('5\n2\n')
    facts = read_folder(tmp_path)
    assert facts.train == ('1', '3') and facts.val == ('5', '2')
    (tmp_path / 'val.txt').write_text('2\n')
    with raises_naming(ValueError, 'val.txt'):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ('thickness', 'size', 'expected'),
    [
        (4, (60, 80), (256, False)),  # 6 / 4 * 80 = 120
        (2, (60, 120), (384, False)),  # 6 / 2 * 120 = 360
        (1, (100, 200), (512, False)),  # 1200, but two tiles are no more than the image
        (2, (300, 512), (256, True)),  # 1536, and the image is two tiles wide
        (2, (300, 511), (512, False)),
        (3, (700, 1000), (256, True)),  # 2000
    ],
)
def test_input_size_by_hand(tmp_path: Path, thickness: int, size: tuple, expected: tuple) -> None:
    plan = make_plan(read_folder(write(tmp_path, thickness, size)), 'spt', 'sam_tiny')
    assert (plan.size, plan.tiles) == expected


def test_steps_fit_the_time(tmp_path: Path) -> None:
    facts = read_folder(write(tmp_path, 4, number=100))
    plan = make_plan(facts, 'spt', 'sam_tiny')
    timed = with_iterations(plan, facts, seconds=600, step=2.0)
    checks = 5 * len(facts.val) * 2.0 / plan.batch / 2
    assert timed.iterations == int((0.85 * 600 - checks) / 2.0) and 4 * timed.val_interval >= timed.iterations
    assert with_iterations(plan, facts, seconds=10, step=2.0).iterations == 30
    assert with_iterations(plan, facts, seconds=1e9, step=2.0).iterations == 200 * 10  # 80 images in batches of 8


def test_a_short_time_makes_the_input_smaller(tmp_path: Path) -> None:
    """By hand: 150 steps in 85 % of the time; a step costs as the square of the side."""
    plan = make_plan(read_folder(write(tmp_path, 1, (100, 200))), 'spt', 'sam_tiny')
    assert plan.size == 512
    assert affordable_size(plan, seconds=1000, step=1.0) == 512  # 850 steps
    assert affordable_size(plan, seconds=100, step=1.0) == 384  # 85 steps; 512 * sqrt(85 / 150) = 385
    assert affordable_size(plan, seconds=1, step=1.0) == 256
    assert with_size(plan, 384).size == 384 and '384' in with_size(plan, 384).reasons[-1]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('tiles', [False, True])
def test_every_config_can_be_built(tmp_path: Path, method: str, tiles: bool) -> None:
    facts = read_folder(write(tmp_path / 'data', 3, (700, 1000) if tiles else (60, 80)))
    plan = with_iterations(make_plan(facts, method, 'sam_tiny'), facts, 600, 1.0)
    assert plan.tiles == tiles
    (tmp_path / 'config.py').write_text(config_text(plan, facts, tmp_path, None, None))
    config = settle(Config.fromfile(tmp_path / 'config.py'))
    model = MODELS.build(config.model)
    assert any(parameter.requires_grad for parameter in model.parameters())
    assert (model.slide_settings is not None) == tiles
    assert model.num_classes is None
    steps = [step.type for step in config.train_dataloader.dataset.pipeline]
    assert ('RandomTile' in steps) == tiles and ('Resize' in steps) != tiles
    assert ('WholeImagePrompt' in steps) == METHODS[method].prompts
    assert config.param_scheduler[-1].end == config.train_cfg.max_iters == plan.iterations


def test_classes(tmp_path: Path) -> None:
    """Masks hold the numbers of the classes; those that no image has are left out."""
    write(tmp_path, 4, value=3)
    (tmp_path / 'classes.json').write_text(json.dumps(['crack', 'spot', 'dent']))
    facts = read_folder(tmp_path)
    assert facts.classes == ('dent',) and facts.foreground == [3] and facts.num_classes is None and facts.normals == 5
    mask = cv2.imread(str(tmp_path / 'masks/1.png'), cv2.IMREAD_UNCHANGED)
    mask[50:54, 5:55] = 1
    cv2.imwrite(str(tmp_path / 'masks/1.png'), mask)
    facts = read_folder(tmp_path)
    assert facts.classes == ('crack', 'dent') and facts.foreground == [1, 3] and facts.num_classes == 2
    assert facts.class_option == dict(crack=1, dent=3) and [facts.images_of(label) for label in (1, 2)] == [1, 5]
    assert facts.images[1].labels == (1, 2) and facts.normals == 5
    assert any(
        'both train on and validate on: crack' in reason for reason in make_plan(facts, 'spt', 'sam_tiny').reasons
    )
    assert any('dent (5 images)' in reason for reason in make_plan(facts, 'spt', 'sam_tiny').reasons)
    for bad in ('{}', '["a", "a"]', '[""]', '[1]', 'no json'):
        (tmp_path / 'classes.json').write_text(bad)
        with raises_naming(ValueError, 'classes.json'):
            read_folder(tmp_path)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name, number in (('crack', 12), ('dent', 4)):
        write(tmp_path / name, 4, number=number)
    for kind in ('images', 'masks'):
        for name in ('crack', 'dent'):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / name / kind).rename(tmp_path / kind / name)
    good = tmp_path / 'images/good'
    good.mkdir()
    (tmp_path / 'masks/good').mkdir()
    for folder in (good, tmp_path / 'masks/good'):
        cv2.imwrite(str(folder / '0.png'), np.zeros((60, 80), np.uint8))
    facts = read_folder(tmp_path)
    assert facts.classes == ('crack', 'dent') and facts.class_option == ['crack', 'dent'] and facts.normals == 9
    labels = {one.name: one.labels for one in facts.images if one.labels}
    assert labels == {**{f'crack/{i}': (1,) for i in range(1, 12, 2)}, **{f'dent/{i}': (2,) for i in (1, 3)}}
    assert sorted(labels[name] for name in facts.val if name in labels) == [(1,), (2,)]  # each class is validated on
    cv2.imwrite(str(tmp_path / 'images/new.png'), np.zeros((60, 80), np.uint8))
    cv2.imwrite(str(tmp_path / 'masks/new.png'), np.full((60, 80), 255, np.uint8))
    assert read_folder(tmp_path).num_classes is None  # a defect outside of the folders has no class


@pytest.mark.parametrize('method', METHODS)
def test_a_config_of_several_classes(tmp_path: Path, method: str) -> None:
    write(tmp_path / 'data', 3, value=2)
    mask = cv2.imread(str(tmp_path / 'data/masks/1.png'), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / 'data/masks/1.png'), mask // 2)
    (tmp_path / 'data/classes.json').write_text(json.dumps(['crack', 'dent']))
    facts = read_folder(tmp_path / 'data')
    plan = with_iterations(make_plan(facts, method, 'sam_tiny'), facts, 600, 1.0)
    (tmp_path / 'config.py').write_text(config_text(plan, facts, tmp_path, None, None))
    config = settle(Config.fromfile(tmp_path / 'config.py'))
    model = MODELS.build(config.model)
    assert model.num_classes == 2 and config.train_dataloader.dataset.classes == dict(crack=1, dent=2)
    stages = {type(stage).__name__: stage for stage in model.prompt_stages}
    own = dict(plm='PromptLearningModule', ods='SSMODCPromptHead').get(method)
    assert set(stages) == {'ClassEmbedding', own} - {None} if method != 'ods' else {own}
    if method != 'ods':
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {'tokens.weight', 'dense.weight'} <= {name.split('.', 2)[-1] for name in trained}
        assert len(trained) > 2  # the method's own parameters as well
        first = config.train_dataloader.dataset.pipeline[-3]
        assert (first.type, first.num_classes) == ('WholeImagePrompt', 2)


@pytest.mark.parametrize(('model', 'alpha', 'rate'), [('sam_tiny', 8, 6e-3), ('sam_vit_b', 1, 1e-3)])
def test_the_scale_of_lora_is_the_models(tmp_path: Path, model: str, alpha: int, rate: float) -> None:
    """As in the shipped configs of SPT: that of the paper, and the mini SAM's own."""
    facts = read_folder(write(tmp_path / 'data', 3))
    plan = with_iterations(make_plan(facts, 'spt', model), facts, 600, 1.0)
    (tmp_path / 'config.py').write_text(config_text(plan, facts, tmp_path, None, None))
    config = settle(Config.fromfile(tmp_path / 'config.py'))
    assert {rule.get('alpha', 1) for rule in config.model.peft.values()} == {alpha}
    assert config.optim_wrapper.optimizer.lr == rate


def test_bad_folders(tmp_path: Path) -> None:
    with raises_naming(FileNotFoundError, 'images'):
        read_folder(tmp_path / 'nowhere')
    write(tmp_path / 'one', 4, number=2)
    with raises_naming(ValueError, 'one', '1 of 2'):
        read_folder(tmp_path / 'one')
    write(tmp_path / 'size', 4)
    cv2.imwrite(str(tmp_path / 'size/masks/1.png'), np.zeros((9, 9), np.uint8))
    with raises_naming(ValueError, '1.png', '9'):
        read_folder(tmp_path / 'size')
