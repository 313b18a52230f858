"""SyntheticPartsDataset: the same images for both tasks, and every pixel of an object in a part and in a whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmsam_ext.datasets import SyntheticPartsDataset
from tests.naming import raises_naming

NUMBER = 24


@pytest.fixture(scope='module')
def pairs() -> list[tuple[dict, dict]]:
    """The samples of both tasks."""
    wholes, parts = (SyntheticPartsDataset(length=NUMBER, seed=5, asks=asks) for asks in ('whole', 'part'))
    return [(wholes.load_sample(index), parts.load_sample(index)) for index in range(NUMBER)]


def test_a_point_is_ambiguous_by_construction(pairs: list[tuple[dict, dict]]) -> None:
    several = 0
    for whole, part in pairs:
        np.testing.assert_array_equal(whole['img'], part['img'])
        np.testing.assert_array_equal(whole['gt_seg_map'], part['gt_seg_map'])
        wholes, parts = (sample['gt_masks'].astype(int) for sample in (whole, part))
        np.testing.assert_array_equal(wholes.sum(0), whole['gt_seg_map'])  # apart, and all there is
        assert parts.sum(0).max() == 1 and not (parts.sum(0) > whole['gt_seg_map']).any()
        shared = wholes.reshape(len(wholes), -1) @ parts.reshape(len(parts), -1).T  # (wholes, parts)
        assert ((shared > 0).sum(0) == 1).all()  # a part is of one object
        assert parts.sum() > 0.97 * wholes.sum()  # but for parts that are too small
        several += int(((shared > 0).sum(1) >= 2).sum())
        assert {whole['defect_class'], part['defect_class']} == {'whole', 'part'}
    assert several > 0.95 * sum(len(whole['gt_masks']) for whole, _ in pairs)


def test_objects_are_whole_and_parts_can_be_told_apart(pairs: list[tuple[dict, dict]]) -> None:
    """Objects are one region inside the image; neighbouring parts differ more in colour than halves of one part do."""
    between, within = [], []
    for whole, part in pairs:
        for mask in whole['gt_masks']:
            assert cv2.connectedComponents(mask, connectivity=8)[0] == 2
            for object_part in part['gt_masks']:
                if (object_part & mask).any():
                    rest = mask & ~object_part
                    if rest.any():
                        between.append(distance(whole['img'], object_part, rest))
                    rows = np.flatnonzero(object_part.any(1))
                    upper = object_part.copy()
                    upper[(rows[0] + rows[-1]) // 2 :] = 0
                    within.append(distance(whole['img'], upper, object_part & ~upper))
    assert np.median(between) > 2 * np.median(within)


def distance(image: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of the mean colours in two masks."""
    means = [image[mask > 0].mean(0) if mask.any() else np.full(3, np.nan) for mask in (first, second)]
    return float(np.nanmax(abs(means[0] - means[1]), initial=0))


def test_deterministic() -> None:
    first = SyntheticPartsDataset(length=100, seed=5)
    second = SyntheticPartsDataset(length=1000, seed=5, indices=[40, 7])
    for here, there in ((7, 1), (40, 0)):
        left, right = first.load_sample(here), second.load_sample(there)
        for name in ('img', 'gt_masks', 'gt_seg_map'):
            np.testing.assert_array_equal(left[name], right[name])
    other = SyntheticPartsDataset(length=100, seed=6).load_sample(7)
    assert (other['img'] != first.load_sample(7)['img']).mean() > 0.5


def test_at_least_one_target_in_small_images() -> None:
    for asks in ('whole', 'part'):
        dataset = SyntheticPartsDataset(length=20, size=(32, 48), asks=asks, min_area=15)
        assert all(len(dataset.load_sample(index)['gt_masks']) for index in range(20))


def test_prompts_ask_for_the_targets() -> None:
    modes = {'1 point': dict(kind='points', targets='parts')}
    pipeline = [dict(type='GeneratePrompts', modes=modes, seed=0)]
    sample = SyntheticPartsDataset(length=3, pipeline=pipeline)[1]
    masks, prompts = sample['gt_masks'], sample['prompts']
    assert len(prompts) == len(masks) - 1 and prompts.target_ids.tolist() == list(range(1, len(masks)))
    for (x, y), target in zip(prompts.points[:, 0].long().tolist(), prompts.target_ids, strict=True):
        assert masks[target, y, x] == 1


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(asks='parts'), ('asks', "'parts'", "('whole', 'part')")),
        (dict(min_area=0), ('min_area', '0')),
        (dict(length=0), ('length', '0')),
    ],
)
def test_bad_options(options: dict, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        SyntheticPartsDataset(**{'length': 1, **options})
