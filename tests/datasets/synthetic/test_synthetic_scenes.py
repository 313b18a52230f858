"""SyntheticScenesDataset: deterministic, valid targets, hard shapes, and photographs that change content alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.datasets import SyntheticScenesDataset
from mmsam_ext.datasets.synthetic.camera import _sense
from mmsam_ext.datasets.synthetic.fills import separate
from mmsam_ext.datasets.synthetic.outlines import OUTLINES, draw_outline
from mmsam_ext.datasets.synthetic.photographs import Photographs
from mmsam_ext.datasets.synthetic.synthetic_scenes import SCENES
from tests.naming import raises_naming


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs: a red one and a green one, both with grain."""
    path = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    for channel, name in ((2, 'red.png'), (1, 'green.png')):
        image = rng.integers(0, 40, (300, 400, 3)).astype(np.uint8)
        image[..., channel] += 180
        cv2.imwrite(str(path / name), image)
    (path / 'LICENCES.tsv').write_text('image\n')
    return path


@pytest.fixture(scope='module')
def samples(folder: Path) -> list[dict]:
    dataset = SyntheticScenesDataset(length=80, seed=5, size=(128, 128), photographs=folder)
    return [dataset.load_sample(index) for index in range(80)]


def test_same_sample_whatever_came_before(folder: Path) -> None:
    first = SyntheticScenesDataset(length=100, seed=5, photographs=folder)
    second = SyntheticScenesDataset(length=1000, seed=5, indices=[40, 7], photographs=folder)
    first.load_sample(2)
    for here, there in ((7, 1), (40, 0)):
        left, right = first.load_sample(here), second.load_sample(there)
        assert left['sample_id'] == right['sample_id'] == f'5/{here:06d}'
        for name in ('img', 'gt_masks', 'gt_seg_map', 'part_map'):
            np.testing.assert_array_equal(left[name], right[name])
    other = SyntheticScenesDataset(length=100, seed=6, photographs=folder).load_sample(7)
    assert (other['img'] != first.load_sample(7)['img']).mean() > 0.5


def test_shares_of_the_kinds_of_scenes(folder: Path) -> None:
    """Shares are relative, and the order in which a config states them means nothing."""

    def kinds(**shares: float) -> list[str]:
        dataset = SyntheticScenesDataset(length=60, seed=5, size=(64, 64), photographs=folder, shares=shares or None)
        return [dataset.load_sample(index)['defect_class'] for index in range(60)]

    assert set(kinds(crowd=3)) == {'crowd'}
    mixed = kinds(plain=3, defects=1)
    assert mixed == kinds(defects=0.5, plain=1.5, crowd=0)
    assert set(mixed) == {'plain', 'defects'} and 0.5 < mixed.count('plain') / 60 < 0.95
    assert kinds() == kinds(plain=0.25, objects=0.25, crowd=0.1, defects=0.25, zones=0.15)


def test_enlarged_blocks_are_the_small_scenes_resized(folder: Path) -> None:
    """A block is either as without `enlarged`, or each of its scenes is the small one with every pixel doubled."""

    def scenes(**options: object) -> list[dict]:
        dataset = SyntheticScenesDataset(length=32, seed=5, photographs=folder, block=4, **options)
        return [dataset.load_sample(index) for index in range(32)]

    small = scenes(sizes=[(64, 64)])
    sizes = [(64, 64), (128, 128)]
    without, with_some, with_all = (scenes(sizes=sizes, enlarged=share) for share in (0.0, 0.5, 1.0))
    doubled = [0] * 8
    for index, sample in enumerate(with_some):
        assert sample['img'].shape == without[index]['img'].shape == with_all[index]['img'].shape
        if sample['img'].shape[0] == 64:
            np.testing.assert_array_equal(sample['img'], small[index]['img'])
            continue
        for name in ('gt_masks', 'gt_seg_map', 'part_map'):
            expected = small[index][name].repeat(2, -1).repeat(2, -2)
            np.testing.assert_array_equal(with_all[index][name], expected)
        blurred = cv2.resize(with_all[index]['img'], (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(blurred.astype(int) - small[index]['img']).mean() < 8
        same = np.array_equal(sample['img'], with_all[index]['img'])
        doubled[index // 4] += same
        assert same or np.array_equal(sample['img'], without[index]['img'])
    assert set(doubled) == {0, 4}  # whole blocks
    with raises_naming(ValueError, 'SyntheticScenesDataset', 'enlarged'):
        SyntheticScenesDataset(length=1, enlarged=1.5)


def test_targets_are_visible_parts(samples: list[dict]) -> None:
    for sample in samples:
        assert sample['img'].shape == (128, 128, 3) and sample['img'].dtype == np.uint8
        masks, union = sample['gt_masks'], sample['gt_seg_map']
        assert masks.dtype == np.uint8 and 1 <= len(masks) <= 8 and set(np.unique(masks)) <= {0, 1}
        areas = masks.reshape(len(masks), -1).sum(1)
        assert areas.min() >= 40 and areas.max() <= 0.9 * 128 * 128
        assert not (masks.any(0) & (union == 0)).any()
        np.testing.assert_array_equal(union > 0, sample['part_map'] > 0)
        inner = masks.reshape(len(masks), -1).astype(int) @ masks.reshape(len(masks), -1).astype(int).T
        smaller = np.minimum.outer(np.diag(inner), np.diag(inner))
        assert (np.isclose(inner, 0) | (inner == smaller)).all(), sample['sample_id']


def test_kinds_come_as_often_as_stated(samples: list[dict]) -> None:
    assert sum(chance for _, chance in SCENES.values()) == pytest.approx(1)
    for kind, (_, chance) in SCENES.items():
        share = np.mean([sample['defect_class'] == kind for sample in samples])
        assert abs(share - chance) < 4 * np.sqrt(chance * (1 - chance) / len(samples)), kind


def test_several_defects_are_a_target_together(samples: list[dict]) -> None:
    together = 0
    for sample in samples:
        if sample['defect_class'] == 'defects' and len(sample['gt_masks']) > 2:
            sums = sample['gt_masks'].sum((1, 2))
            together += int(sums.max() == sample['gt_seg_map'].sum())
    assert together >= 5


def test_zones_touch_the_border_and_differ_a_little_from_what_surrounds_them() -> None:
    """Most zones are large and end at the border of the image; some differ from the rest by a few grey levels alone."""
    dataset = SyntheticScenesDataset(length=60, seed=5, size=(128, 128), shares=dict(zones=1))
    touching, shares, gaps = [], [], []
    for index in range(60):
        sample = dataset.load_sample(index)
        assert 1 <= len(sample['gt_masks']) <= 2 and not sample['gt_seg_map'].all()
        mask, grey = sample['gt_masks'][0] > 0, sample['img'].mean(2)
        touching.append(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        shares.append(mask.mean())
        gaps.append(abs(grey[mask].mean() - grey[~mask].mean()))
    assert np.mean(touching) > 0.6 and np.median(shares) > 0.1
    assert np.median(gaps) > 5 and np.quantile(gaps, 0.2) < 15


def test_batches_of_one_size() -> None:
    sizes = [(64, 64), (96, 64)]
    dataset = SyntheticScenesDataset(length=64, seed=1, sizes=sizes, block=4, min_area=20)
    shapes = [dataset.load_sample(index)['img'].shape[:2] for index in range(64)]
    blocks = [set(shapes[start : start + 4]) for start in range(0, 64, 4)]
    assert all(len(block) == 1 for block in blocks)
    assert set.union(*blocks) == set(sizes)


def test_photographs_are_seen(samples: list[dict]) -> None:
    """With the photographs, many scenes have a red or green background; without them hardly any has."""

    def coloured(sample: dict) -> bool:
        blue, green, red = sample['img'].reshape(-1, 3).mean(0)
        return max(abs(green - red), 0) > 25 and blue < max(green, red) - 15

    without = SyntheticScenesDataset(length=80, seed=5, size=(128, 128))
    plain = np.mean([coloured(without.load_sample(index)) for index in range(80)])
    assert np.mean([coloured(sample) for sample in samples]) > plain + 0.1


def test_crop_of_photograph(folder: Path) -> None:
    photographs = Photographs(folder)
    assert [file.name for file in photographs.files] == ['green.png', 'red.png']
    crops = [photographs.crop(np.random.default_rng(seed), 50, 70) for seed in range(40)]
    assert all(crop.shape == (50, 70, 3) and crop.dtype == np.float32 for crop in crops)
    np.testing.assert_array_equal(crops[3], Photographs(folder).crop(np.random.default_rng(3), 50, 70))
    grey = np.mean([np.ptp(crop, axis=2).max() < 1e-3 for crop in crops])
    assert 0.1 < grey < 0.75  # 0.4 are
    assert photographs.crop(np.random.default_rng(0), 500, 700).shape == (500, 700, 3)  # larger than the photograph


@pytest.mark.parametrize('kind', [*OUTLINES, 'ellipse'])
def test_outlines_have_their_extent(kind: str) -> None:
    for seed in range(12):
        cover = draw_outline(np.random.default_rng(seed), kind, 100.0)
        solid = cover > 127
        assert solid.any(), seed
        longest = max(np.ptp(np.flatnonzero(solid.any(axis))) for axis in (0, 1))
        assert 20 < longest < 230, seed


def test_hollow_thin_and_perforated() -> None:
    def fills(kind: str) -> list[float]:
        covers = [draw_outline(np.random.default_rng(seed), kind, 120.0) > 127 for seed in range(20)]
        boxes = [cv2.boundingRect(cover.astype(np.uint8)) for cover in covers]
        return [cover.sum() / (box[2] * box[3]) for cover, box in zip(covers, boxes, strict=True)]

    assert np.median(fills('frame')) < 0.35 and np.median(fills('hair')) < 0.15 and np.median(fills('network')) < 0.3
    holes = []
    for seed in range(10):
        cover = np.pad(draw_outline(np.random.default_rng(seed), 'perforated', 150.0), 2)
        holes.append(cv2.connectedComponents((cover <= 127).astype(np.uint8), connectivity=4)[0] - 2)
    assert np.mean(holes) > 1.2 and max(holes) >= 3


def test_separate_leaves_what_differs_and_shifts_what_does_not() -> None:
    behind, rng = np.full((20, 20, 3), 100, np.float32), np.random.default_rng(0)
    far = np.full((20, 20, 3), 130, np.float32)
    np.testing.assert_array_equal(separate(rng, far, behind, least=20), far)
    near = separate(rng, np.full((20, 20, 3), 95, np.float32), behind, least=20)
    assert abs(near.mean() - 95) == pytest.approx(18)  # least - gap + 3
    rough = behind + rng.normal(0, 40, behind.shape).astype(np.float32)
    np.testing.assert_array_equal(separate(rng, rough, behind, least=20), rough)


def test_noise_grows_with_the_signal() -> None:
    image = np.full((200, 200, 3), 10, np.float32)
    image[:, 100:] = 240
    spreads = []
    for seed in range(20):
        noisy = _sense(np.random.default_rng(seed), image) - image
        spreads.append((noisy[:, :100].std(), noisy[:, 100:].std()))
    dark, bright = np.array(spreads).T
    # sigma^2 = read^2 + shot^2 s / 255 with read = 14 k, shot = 18 k: the ratio does not depend on the strength k.
    expected = np.sqrt((14**2 + 18**2 * 240 / 255) / (14**2 + 18**2 * 10 / 255))
    np.testing.assert_allclose(bright / dark, expected, rtol=0.03)


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(max_targets=0), ('max_targets', '0')),
        (dict(block=0), ('block', '0')),
        (dict(min_area=700), ('min_area', '700')),
        (dict(sizes=[(16, 64)]), ('sizes', '(16, 64)')),
        (dict(sizes=[]), ('sizes', '[]')),
        (dict(shares=dict(plain=1, clouds=1)), ('shares', 'clouds', 'crowd')),
        (dict(shares=dict(plain=-1)), ('shares', '-1')),
        (dict(shares=dict(plain=0)), ('shares', '0')),
        (dict(shares={}), ('shares', '{}')),
    ],
)
def test_bad_options(options: dict, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        SyntheticScenesDataset(length=1, **options)


def test_bad_photographs(tmp_path: Path) -> None:
    with raises_naming(FileNotFoundError, tmp_path):
        SyntheticScenesDataset(length=1, photographs=tmp_path)
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    with raises_naming(OSError, 'broken.jpg'):
        Photographs(tmp_path).crop(np.random.default_rng(0), 8, 8)
