"""Write a COCO result file of simulated boxes for a data set, to try out what takes the boxes of a detector.

    python -m mmsam_ext simulate-boxes CONFIG --out boxes.json [--noise 0.4] [--false 2] [--seed 0]

Each connected defect of the config's test images gets its true box with noise (centre and sides, as in Stable-SAM's
protocol) and a score drawn from 0.3 to 1. Each image gets false boxes at random places, with sides of 5 % to 50 % of
the image's and scores from 0.1 to 0.6, so that scores tell true boxes from false ones, but not always. Files are named
by the end of their paths. The boxes come from the ground truth: figures with them say nothing about a detector.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmsam_ext.apis.model_loading import load_config
from mmsam_ext.datasets.transforms.perturb_prompts import noisy_box
from mmsam_ext.datasets.transforms.prompt_rng import prompt_rng
from mmsam_ext.structures.samples import sample_key
from mmsam_ext.utils import check_output_file, replacing

#: Scores of true and of false boxes, and sides of the latter as shares of the image's.
TRUE_SCORES, FALSE_SCORES, FALSE_SIDES = (0.3, 1.0), (0.1, 0.6), (0.05, 0.5)
STREAM = 2000


def boxes_of(results: dict[str, Any], noise: float, false: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the boxes of an image as a COCO result file has them.

    Args:
        results: With `gt_seg_map` (H, W), 1 for defects.
        noise: Largest shift and growth of a true box, as a share of its sides.
        false: Number of false boxes.
        seed: The numbers depend on (seed, sample) alone.
    """
    labels = results['gt_seg_map']
    size = labels.shape
    rng = prompt_rng(seed, results, 0, 0, STREAM)
    _, _, stats, _ = cv2.connectedComponentsWithStats((labels == 1).astype(np.uint8), connectivity=8)
    for x, y, width, height, _ in stats[1:]:
        box = noisy_box(np.array([x, y, x + width - 1, y + height - 1], np.float32), noise, size, rng)
        yield _row(results, box, rng.uniform(*TRUE_SCORES))
    for _ in range(false):
        sides = rng.uniform(*FALSE_SIDES, 2) * size[::-1]
        corner = rng.uniform(0, 1, 2) * (size[::-1] - sides)
        yield _row(results, np.concatenate([corner, corner + sides - 1]), rng.uniform(*FALSE_SCORES))


def _row(results: dict[str, Any], box: np.ndarray, score: float) -> dict[str, Any]:
    """A box that names its first and last pixel, as COCO's x, y, width and height."""
    x, y, right, bottom = (round(float(value), 2) for value in box)
    bbox = [x, y, round(right - x + 1, 2), round(bottom - y + 1, 2)]
    name = '/'.join(str(results['img_path']).replace('\\', '/').split('/')[-3:])
    return dict(file_name=name, category_id=1, bbox=bbox, score=round(float(score), 4))


def test_images(name: str) -> BaseDataset:
    """Return the test images of a config, by name or path, with their masks.

    Raises:
        ValueError: The config cannot be used, or has no test images.
    """
    dataset = (load_config(name).get('test_dataloader') or {}).get('dataset')
    if dataset is None:
        raise ValueError(f'{name}: no `test_dataloader` with a dataset, expected one whose images get boxes')
    init_default_scope('mmseg')
    dataset['pipeline'] = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
    return DATASETS.build(dataset)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config whose test images get boxes')
    parser.add_argument('--out', type=Path, required=True, help='the .json file to write')
    parser.add_argument('--noise', type=float, default=0.4, help='largest shift and growth, as a share of the sides')
    parser.add_argument('--false', type=int, default=2, help='false boxes in each image')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--overwrite', action='store_true', help='replace a file that no earlier run wrote, too')
    args = parser.parse_args(arguments)
    if args.noise < 0 or args.false < 0:
        parser.error(f'--noise {args.noise:g} --false {args.false}, expected 0 or more')
    try:
        check_output_file(args.out, [args.config], args.overwrite)
        dataset = test_images(args.config)
    except (OSError, ValueError) as error:
        sys.exit(f'simulate-boxes: error: {error}')
    rows, without = [], []
    for index in range(len(dataset)):
        results = dataset[index]
        found = list(boxes_of(results, args.noise, args.false, args.seed))
        rows += found
        without += [] if found else [sample_key(results)]
    with replacing(args.out, args.overwrite) as temporary:
        temporary.write_text(json.dumps(rows))
    print(f'{args.out}: {len(rows)} boxes of {len(dataset)} images ({len(without)} without a box)')
