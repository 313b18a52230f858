"""Which pipelines an embedding cache takes, and the images that they can return."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS

from mmsam_ext.datasets.fixed_images import check_fixed_images, with_each_image
from tests.naming import raises_naming
from tests.shrink import SIZE, write_mtd

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
RESIZE = dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=False)
PACK = [dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), num_prompts=1), dict(type='PackPromptInputs')]
DISTORTION = dict(type='PhotoMetricDistortion')


def mtd(folder: Path, *steps: dict) -> dict:
    root = str(write_mtd(folder / 'mtd'))
    pipeline = [*LOAD, RESIZE, *steps, *PACK]
    return dict(type='MTDDataset', data_root=root, ann_file='train.txt', pipeline=pipeline, serialize_data=False)


@pytest.mark.parametrize(
    'step',
    [
        DISTORTION,
        dict(type='RandomCrop', crop_size=(32, 32)),
        dict(type='RandomTile', size=(32, 32)),
        dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0)),
        dict(type='RandomRotate', prob=0.5, degree=10.0),
        dict(type='RandomApply', transforms=[DISTORTION]),
    ],
    ids=lambda step: step['type'],
)
def test_random_transform_is_named(step: dict, tmp_path: Path) -> None:
    with raises_naming(ValueError, 'MTDDataset', step['type']):
        check_fixed_images(DATASETS.build(mtd(tmp_path, step)))
    check_fixed_images(DATASETS.build(mtd(tmp_path, step)), fixed=[step['type']])


def test_wrappers_are_looked_into(tmp_path: Path) -> None:
    good, bad = mtd(tmp_path), mtd(tmp_path, DISTORTION)
    flip = dict(type='RandomFlip', prob=0.5)
    check_fixed_images(DATASETS.build(dict(type='PromptMixDataset', dataset=good, pipeline=[flip])))
    with raises_naming(ValueError, 'MTDDataset', 'PhotoMetricDistortion'):
        check_fixed_images(DATASETS.build(dict(type='ConcatDataset', datasets=[good, bad])))
    with raises_naming(ValueError, 'PromptMixDataset', 'SynthesizeOcclusion'):
        mixed = dict(type='PromptMixDataset', dataset=good, pipeline=[dict(type='SynthesizeOcclusion')])
        check_fixed_images(DATASETS.build(mixed))


@pytest.mark.parametrize(
    ('flip', 'expected'),
    [
        (dict(prob=0.5), {None, 'horizontal'}),
        (dict(prob=1.0), {'horizontal'}),
        (dict(prob=[0.3, 0.3], direction=['horizontal', 'vertical']), {None, 'horizontal', 'vertical'}),
        (dict(prob=[0.5, 0.5], direction=['diagonal', 'vertical']), {'diagonal', 'vertical'}),
        (dict(prob=[0.0, 0.5], direction=['horizontal', 'vertical']), {None, 'vertical'}),
    ],
)
def test_every_flip_once(flip: dict, expected: set, tmp_path: Path) -> None:
    configs = list(with_each_image(mtd(tmp_path, dict(type='RandomFlip', **flip))))
    steps = [next((s for s in one['pipeline'] if s['type'] == 'RandomFlip'), None) for one in configs]
    assert len(configs) == len(expected)
    assert {step and step['direction'] for step in steps} == expected
    assert all(step['prob'] == 1.0 for step in steps if step)


def test_all_images_of_a_training_are_enumerated(tmp_path: Path) -> None:
    """40 random epochs return no image that the enumeration does not have, and all that it has."""
    steps = [
        dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
        dict(type='EnumeratedVariants', number=2, transforms=[DISTORTION]),
    ]
    config = mtd(tmp_path, *steps)
    dataset = DATASETS.build(config)
    check_fixed_images(dataset)
    enumerated = {_pixels(one[i]) for one in map(DATASETS.build, with_each_image(config)) for i in range(len(one))}
    np.random.seed(0)
    drawn = {_pixels(dataset[index]) for _ in range(40) for index in range(len(dataset))}
    assert drawn == enumerated and len(enumerated) == 3 * 2 * len(dataset)


def _pixels(packed: dict[str, Any]) -> bytes:
    return packed['inputs'].numpy().tobytes()


def test_variants_depend_on_sample_and_seed_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)

    def variant(number: int, name: str = 'a', seed: int = 0) -> np.ndarray:
        transform = TRANSFORMS.build(
            dict(type='EnumeratedVariants', number=3, seed=seed, variant=number, transforms=[DISTORTION])
        )
        return transform(dict(img=image.copy(), sample_id=name))['img']

    np.random.seed(1)
    random.seed(1)
    before = np.random.get_state()[1].copy(), random.getstate()
    first = variant(0)
    assert (np.random.get_state()[1] == before[0]).all() and random.getstate() == before[1]
    np.random.seed(2)
    assert (variant(0) == first).all()
    others = [variant(1), variant(2), variant(0, 'b'), variant(0, seed=1)]
    assert all((other != first).any() for other in others)


@pytest.mark.parametrize(
    ('arguments', 'names'),
    [
        (dict(number=0), ('number=0',)),
        (dict(number=2, variant=2), ('variant=2',)),
        (dict(transforms=[dict(type='SynthesizeOcclusion')]), ('SynthesizeOcclusion',)),
    ],
)
def test_bad_arguments(arguments: dict, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, 'EnumeratedVariants', *names):
        TRANSFORMS.build(dict(dict(type='EnumeratedVariants', transforms=[DISTORTION]), **arguments))
