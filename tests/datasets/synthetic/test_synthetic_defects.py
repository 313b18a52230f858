"""SyntheticDefectDataset: the mask marks what was changed, in every class, and nothing depends on the worker."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmsam_ext.datasets import SyntheticDefectDataset
from mmsam_ext.datasets.synthetic.defects import DEFECTS, draw_defect
from mmsam_ext.datasets.synthetic.surfaces import surface


@pytest.fixture(scope='module')
def samples() -> list[dict]:
    dataset = SyntheticDefectDataset(length=240, seed=9)
    return [dataset.load_sample(index) for index in range(240)]


@pytest.mark.parametrize('kind', DEFECTS)
def test_mask_is_where_the_surface_was_changed(kind: str) -> None:
    inside, hit = [], 0
    for seed in range(12):
        rng = np.random.default_rng([77, seed])
        clean = surface(rng, (192, 256))
        image, mask = clean.copy(), np.zeros((192, 256), np.uint8)
        draw_defect(rng, image, mask, kind, most=0.2)
        change = np.abs(image - clean).max(2)
        # Nothing changes farther than a rim's shift and a soft border from the mask.
        far = cv2.dilate(mask, np.ones((31, 31), np.uint8)) == 0
        hit += mask.sum() > 60
        if mask.any():
            assert np.mean(change[far] > 1) < 0.01, seed
            inside.append(np.mean(change[mask > 0] > 3))
    assert hit >= 10 and np.median(inside) > (0.6 if kind == 'dent' else 0.9)


def test_masks_and_classes(samples: list[dict]) -> None:
    areas = np.array([sample['gt_seg_map'].mean() for sample in samples])
    assert areas.min() >= 1 / 2100 and areas.max() <= 0.25
    assert (areas < 0.003).mean() > 0.05 and (areas > 0.04).mean() > 0.08
    kinds = [sample['defect_class'] for sample in samples]
    assert set(kinds) == set(DEFECTS) and min(kinds.count(kind) for kind in DEFECTS) > 20
    for sample in samples:
        assert sample['img'].dtype == np.uint8 and sample['img'].shape == (256, 256, 3)
        assert set(np.unique(sample['gt_seg_map'])) == {0, 1}
        assert sample['img'].std() > 1


def test_trivial_answers_fail(samples: list[dict]) -> None:
    """Filling the box, or the best global threshold inside it, is far from a solution."""
    filled, thresholded = [], []
    for sample in samples:
        mask = sample['gt_seg_map'] > 0
        x, y, w, h = cv2.boundingRect(sample['gt_seg_map'])
        filled.append(mask.sum() / (w * h))
        value = sample['img'].mean(2)[y : y + h, x : x + w]
        level, _ = cv2.threshold(value.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
        truth = mask[y : y + h, x : x + w]
        thresholded.append(max((hit & truth).sum() / (hit | truth).sum() for hit in (value > level, value <= level)))
    assert np.mean(filled) < 0.45 and np.mean(thresholded) < 0.65


def test_same_in_workers_and_with_other_lengths() -> None:
    dataset = SyntheticDefectDataset(length=500, seed=4, size=(64, 96), indices=6)
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=lambda batch: batch[0])
    alone = SyntheticDefectDataset(length=6, seed=4, size=(64, 96))
    for index, sample in reversed(list(enumerate(loader))):
        expected = alone.load_sample(index)
        assert sample['sample_id'] == expected['sample_id'] == f'4/{index:06d}'
        assert sample['dataset_name'] == 'synthetic_defects' and sample['ori_shape'] == (64, 96)
        np.testing.assert_array_equal(sample['img'], expected['img'])
        np.testing.assert_array_equal(sample['gt_seg_map'], expected['gt_seg_map'])
