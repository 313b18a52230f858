"""Compare what helps on cracks of one to three pixels, at equal CPU time: input size, tiles, refinement.

Trains the mini SAM on procedural cracks, or on the cracks of magnetic tiles (--mtd), prompted by boxes, once for each
setting and for the same number of CPU seconds (of the process, so a busy machine does not matter), and prints IoU,
clDice and the F1 score of contours within 2 pixels on images that it has not seen.

Usage: python tools/analysis/thin_study.py [--seconds 60] [--size 512] [--test 40] [--settings 256 512 ...]
       [--mtd data/mtd]
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

#: Name -> side of the network input, side of tiles (None: the whole image), and whether masks are refined.
SETTINGS: dict[str, tuple[int, int | None, bool]] = {
    'input 256': (256, None, False),
    'input 512': (512, None, False),
    'tiles 256 of 512': (512, 256, False),
    'input 256, refined': (256, None, True),
    'input 512, refined': (512, None, True),
}


def crack(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a surface (H, W, 3) uint8 with a dark crack of one to three pixels' width, and its mask (H, W) {0, 1}."""
    from mmsam_ext.datasets.synthetic.surfaces import surface

    image = surface(rng, (size, size))
    steps = rng.normal(0, 0.35, 24).cumsum() + rng.uniform(0, 2 * np.pi)
    walk = np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1) * size * rng.uniform(0.015, 0.03), 0)
    walk += rng.uniform(0.3, 0.7, 2) * size - walk.mean(0)
    mask = np.zeros((size, size), np.uint8)
    cv2.polylines(mask, [walk.round().astype(np.int32)], False, 1, int(rng.integers(1, 4)))
    image = image - mask[..., None] * np.float32(rng.uniform(40, 80))
    return image.clip(0, 255).astype(np.uint8), mask


def mtd_cracks(root: Path, split: str, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the cracks of a split of MTD, enlarged to `size` x `size` pixels, as :func:`crack` does."""
    from mmseg.registry import DATASETS

    pipeline = [dict(type='mmseg.LoadImageFromFile'), dict(type='LoadBinaryMask')]
    source = dict(type='MTDDataset', data_root=str(root), ann_file=split, defect_classes=['MT_Crack'], test_mode=True)
    dataset: Any = DATASETS.build(dict(source, pipeline=pipeline))
    return [
        (
            cv2.resize(row['img'], (size, size), interpolation=cv2.INTER_LINEAR),
            cv2.resize((row['gt_seg_map'] == 1).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST),
        )
        for row in dataset
    ]


def sample_of(image: np.ndarray, mask: np.ndarray, side: int, tile: int | None, rng: np.random.Generator | None) -> Any:
    """Return the input (3, h, w) uint8 and the data sample of an image; with `rng` for training, cut to a tile."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    from mmsam_ext.structures import Prompts

    original = mask.shape
    if rng is not None and tile is not None:
        ys, xs = np.nonzero(mask)
        index = rng.integers(len(ys))
        top, left = (int(np.clip(at - rng.integers(tile), 0, original[0] - tile)) for at in (ys[index], xs[index]))
        image, mask = (array[top : top + tile, left : left + tile] for array in (image, mask))
    elif side != original[0]:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    x, y, width, height = cv2.boundingRect(mask)
    scale = image.shape[0] / mask.shape[0]
    sample = SegDataSample(metainfo=dict(img_shape=image.shape[:2], ori_shape=mask.shape))
    sample.prompts = Prompts.create(boxes=[[x, y, x + width - 1, y + height - 1]]).scaled(scale, scale)
    if rng is not None and mask.shape != image.shape[:2]:
        mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    sample.gt_masks = PixelData(data=torch.from_numpy(np.ascontiguousarray(mask))[None])
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), sample


Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def run(name: str, seconds: float, draw: Draw, tests: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Train one setting on what `draw` gives, and test it; returns its row of the table."""
    import torch
    from mmengine.config import Config
    from mmengine.runner import load_checkpoint
    from mmseg.registry import MODELS

    from mmsam_ext.evaluation.functional import boundary_f1, cl_dice, mask_iou

    side, tile, refined = SETTINGS[name]
    torch.manual_seed(0)
    config = Config.fromfile(Path(__file__).resolve().parents[2] / 'configs/sam_tiny_mtd.py').model
    config.data_preprocessor = dict(type='PromptDataPreprocessor', size_divisor=16)
    if refined:
        config.update(mask_refiner=dict(type='PointRefiner', embed_dim=128))
        config.trainable = [*config.trainable, r'^mask_refiner\.']
    if tile is not None:
        config.test_cfg = dict(mode='slide', crop_size=(tile, tile), stride=(tile * 3 // 4, tile * 3 // 4))
    model = MODELS.build(config)
    load_checkpoint(model, 'mmsam_ext://sam_tiny', logger='silent')
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 5e-4, weight_decay=0.01)
    rng, steps, start = np.random.default_rng(1), 0, time.process_time()
    while time.process_time() - start < seconds:
        pairs = [sample_of(*draw(rng), side, tile, rng) for _ in range(2)]
        data = model.data_preprocessor(dict(inputs=[p[0] for p in pairs], data_samples=[p[1] for p in pairs]), True)
        for group in optimizer.param_groups:  # to zero at the end of the time
            group['lr'] = 5e-4 * max(0.0, 1 - (time.process_time() - start) / seconds)
        optimizer.zero_grad()
        sum(model.loss(**data).values()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        steps += 1
    model.eval()
    scores = []
    for image, mask in tests:
        tensor, sample = sample_of(image, mask, side, tile, None)
        (result,) = model.test_step(dict(inputs=[tensor], data_samples=[sample]))
        found, truth = result.pred_sem_seg.data[0] > 0, torch.from_numpy(mask).bool()
        scores.append([float(score(found, truth)) for score in (mask_iou, cl_dice, boundary_f1)])
    cells = ' | '.join(f'{100 * mean:.1f}' for mean in np.mean(scores, 0))
    return f'| {name} | {cells} | {steps} |'


def main() -> None:
    """Run the settings one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=60, help='CPU seconds of training for each setting')
    parser.add_argument('--size', type=int, default=512, help='side of the images in pixels, a multiple of 16')
    parser.add_argument('--test', type=int, default=40, help='number of test images')
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument('--mtd', type=Path, metavar='DIR', help="MTD's cracks, of its train and val split, instead")
    args = parser.parse_args()
    import torch
    from mmengine.registry import init_default_scope

    import mmsam_ext  # noqa: F401

    torch.set_num_threads(1)
    init_default_scope('mmseg')
    if args.mtd is not None:
        if not (args.mtd / 'val.txt').is_file():
            parser.error(f'--mtd {args.mtd}: no file val.txt there, expected the folder of MTD')
        train, tests = (mtd_cracks(args.mtd, split, args.size) for split in ('train.txt', 'val.txt'))
        tests = tests[: args.test]
    else:
        train, rng = [], np.random.default_rng(2)
        tests = [crack(rng, args.size) for _ in range(args.test)]

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return train[rng.integers(len(train))] if train else crack(rng, args.size)

    print('| setting | IoU | clDice | F1 of contours, 2 px | steps |\n| --- | --- | --- | --- | --- |', flush=True)
    for name in args.settings:
        print(run(name, args.seconds, draw, tests), flush=True)


if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))
    main()
