"""The study of thin cracks: its images, its samples, and a setting that trains for no time."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import torch

from tests.run_tool import TOOLS

STUDY = runpy.run_path(str(TOOLS / 'analysis' / 'thin_study.py'))


def test_cracks_are_thin_dark_and_repeatable() -> None:
    image, mask = STUDY['crack'](np.random.default_rng(3), 256)
    again, _ = STUDY['crack'](np.random.default_rng(3), 256)
    assert image.shape == (256, 256, 3) and np.array_equal(image, again)
    area = mask.sum()
    assert 30 < area < 0.02 * mask.size
    near = np.zeros_like(mask, bool)
    ys, xs = np.nonzero(mask)
    near[ys.clip(5) - 5, xs] = True
    assert image[mask > 0].mean() < image[near & (mask == 0)].mean() - 15


def test_samples() -> None:
    """In training a tile holds a part of the crack, and its box is that of the part; masks follow the input."""
    image, mask = STUDY['crack'](np.random.default_rng(3), 256)
    tensor, sample = STUDY['sample_of'](image, mask, 256, 128, np.random.default_rng(0))
    part = sample.gt_masks.data[0]
    assert tensor.shape == (3, 128, 128) and part.shape == (128, 128) and part.any()
    ys, xs = part.nonzero().unbind(1)
    assert sample.prompts.boxes[0].tolist() == [xs.min(), ys.min(), xs.max(), ys.max()]
    tensor, sample = STUDY['sample_of'](image, mask, 128, None, None)
    assert tensor.shape == (3, 128, 128) and sample.gt_masks.data.shape == (1, 256, 256)
    ys, xs = torch.from_numpy(mask).nonzero().unbind(1)
    assert sample.prompts.boxes[0].tolist() == [xs.min() / 2, ys.min() / 2, xs.max() / 2, ys.max() / 2]


def test_a_setting() -> None:
    crack = STUDY['crack'](np.random.default_rng(3), 256)
    row = STUDY['run']('input 256, refined', 0, lambda rng: crack, [crack])
    name, *scores, steps = [cell.strip() for cell in row.strip('| ').split(' | ')]
    assert name == 'input 256, refined' and steps == '0' and all(0 <= float(score) <= 100 for score in scores)


def test_cracks_of_magnetic_tiles(tmp_path: Path) -> None:
    """Images are enlarged with their masks; other defects of the list are left out."""
    write_mtd(tmp_path, {'MT_Crack/Imgs/a': (60, 40), 'MT_Blowhole/Imgs/b': (30, 30)})
    ((image, mask),) = STUDY['mtd_cracks'](tmp_path, 'val.txt', 128)
    assert image.shape == (128, 128, 3) and mask.shape == (128, 128) and set(np.unique(mask)) == {0, 1}
    # The defect covers rows 6 to 11 of 60 and columns 10 to 29 of 40.
    ys, xs = np.nonzero(mask)
    assert [ys.min(), ys.max(), xs.min(), xs.max()] == [13, 25, 32, 95]


def write_mtd(root: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """Write samples of MTD with one rectangle of a defect each, and list them in val.txt."""
    for name, (height, width) in sizes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((height, width), np.uint8)
        mask[6:12, 10:30] = 255
        cv2.imwrite(str(root / f'{name}.jpg'), np.full((height, width, 3), 120, np.uint8))
        cv2.imwrite(str(root / f'{name}.png'), mask)
    (root / 'val.txt').write_text('\n'.join(sizes))
