"""SyntheticObjectsDataset: deterministic, valid targets, and nothing that BaseDataset promises is lost."""

from __future__ import annotations

import numpy as np
import pytest

from mmsam_ext.datasets import SyntheticObjectsDataset
from tests.naming import raises_naming


@pytest.fixture(scope='module')
def samples() -> list[dict]:
    dataset = SyntheticObjectsDataset(length=60, seed=5)
    return [dataset.load_sample(index) for index in range(60)]


def test_same_sample_whatever_came_before() -> None:
    first = SyntheticObjectsDataset(length=100, seed=5)
    second = SyntheticObjectsDataset(length=1000, seed=5, indices=[40, 7])
    for _ in range(3):
        first.load_sample(2)
    for here, there in ((7, 1), (40, 0)):
        left, right = first.load_sample(here), second.load_sample(there)
        assert left['sample_id'] == right['sample_id'] == f'5/{here:06d}'
        for name in ('img', 'gt_masks', 'gt_seg_map'):
            np.testing.assert_array_equal(left[name], right[name])
    other = SyntheticObjectsDataset(length=100, seed=6).load_sample(7)
    assert (other['img'] != first.load_sample(7)['img']).mean() > 0.5


def test_targets_are_visible_parts(samples: list[dict]) -> None:
    for sample in samples:
        assert sample['img'].shape == (256, 256, 3) and sample['img'].dtype == np.uint8
        masks, union = sample['gt_masks'], sample['gt_seg_map']
        assert masks.dtype == np.uint8 and union.dtype == np.uint8
        assert 1 <= len(masks) <= 8 and masks.shape[1:] == (256, 256)
        assert set(np.unique(masks)) <= {0, 1} and set(np.unique(union)) <= {0, 1}
        assert masks.reshape(len(masks), -1).sum(1).min() >= 40
        assert not (masks.any(0) & (union == 0)).any()
        # Two targets are apart or nested (an object and its part), never partly over one another.
        areas = masks.reshape(len(masks), -1).astype(int)
        inner = areas @ areas.T
        smaller = np.minimum.outer(np.diag(inner), np.diag(inner))
        assert (np.isclose(inner, 0) | (inner == smaller)).all(), sample['sample_id']


def test_variety(samples: list[dict]) -> None:
    """Sizes over three decades, nested parts, grey and colour, and objects that colour alone does not separate."""
    areas = np.concatenate([sample['gt_masks'].reshape(len(sample['gt_masks']), -1).mean(1) for sample in samples])
    assert areas.min() < 0.002 and areas.max() > 0.2
    nested = 0
    for sample in samples:
        flat = sample['gt_masks'].reshape(len(sample['gt_masks']), -1).astype(int)
        nested += ((flat @ flat.T).sum() > flat.sum()).any()
    assert nested >= 10
    grey = [np.ptp(sample['img'].astype(int), axis=2).mean() < 12 for sample in samples]
    assert 0.1 < np.mean(grey) < 0.8
    # How well does the best threshold on brightness find a target? Trivial scenes would give 1.
    best = []
    for sample in samples:
        value = sample['img'].mean(2)
        for mask in sample['gt_masks'][:2].astype(bool):
            ious = [
                (hit & mask).sum() / (hit | mask).sum()
                for level in np.percentile(value, range(5, 100, 10))
                for hit in (value > level, value <= level)
            ]
            best.append(max(ious))
    assert np.median(best) < 0.35


def test_base_dataset_options() -> None:
    dataset = SyntheticObjectsDataset(length=10_000_000, lazy_init=True, indices=12, filter_cfg=dict(), max_targets=2)
    assert not dataset._fully_initialized
    dataset.full_init()
    assert len(dataset) == 12 and dataset[-1]['sample_id'] == '0/000011' and dataset[-1]['sample_idx'] == 11
    assert max(len(dataset[index]['gt_masks']) for index in range(12)) == 2
    assert len(dataset.get_subset([3, 4])) == 2 and dataset.get_subset([3, 4])[1]['sample_id'] == '0/000004'
    renamed = SyntheticObjectsDataset(length=3, metainfo=dict(note='x'), size=(96, 160), test_mode=True)
    assert renamed.metainfo['note'] == 'x' and renamed.metainfo['classes'] == ('background', 'object')
    assert renamed[0]['img'].shape == (96, 160, 3) and renamed[0]['ori_shape'] == (96, 160)
    with pytest.raises(IndexError):
        dataset[12]


def test_at_least_one_target_even_where_all_would_be_too_small() -> None:
    dataset = SyntheticObjectsDataset(length=30, min_area=655)
    assert min(len(dataset[index]['gt_masks']) for index in range(30)) >= 1


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(length=0), ('length', '0')),
        (dict(length=1, size=(16, 64)), ('size', '(16, 64)')),
        (dict(length=1, max_targets=0), ('max_targets', '0')),
        (dict(length=1, min_area=0), ('min_area', '0')),
    ],
)
def test_bad_options(options: dict, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        SyntheticObjectsDataset(**options)
