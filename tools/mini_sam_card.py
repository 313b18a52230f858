"""Print the tables of the mini SAM's model card, measured on given weights.

    python tools/mini_sam_card.py mmsam_ext://sam_tiny --mtd data/mtd --photographs data/photographs

Objects are those of SyntheticObjectsDataset, seed 3 (the card's first test set) of 256 px, for "sizes" enlarged; scenes
are of SyntheticScenesDataset, seed 13, with --photographs or without. Neither seed is trained on. Clicks and background
are measured with the objects enlarged to 384 px, as `infer` and `annotate` do. MTD is the split named by --split:
choose by train.txt, and report val.txt once, at the end. "fill the box" is the IoU of the box itself, filled. Each
table is printed as soon as it is there; --tables picks some of them, --images takes the first N images of each set.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import _bootstrap
import cv2
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.cli.choices import one_of
from mmsam_ext.evaluation.functional import Clicker, number_of_clicks

CONFIGS = _bootstrap.TOOLS.parent / 'configs'
TABLES = ('objects', 'choice', 'sizes', 'scenes', 'clicks', 'background', 'mtd')
CLICKS = 8
CHOICE, ROUNDS = 'model__test_cfg__multimask', 'model__test_cfg__rounds'
CHOICES: dict[str, dict[str, object]] = {
    '1 point: best of three': {CHOICE: 'oracle'},
    "1 point: the IoU head's choice": {CHOICE: 'ambiguous'},
    "SAM 2's choice (as infer)": {CHOICE: 'stable'},
    "1 point: the IoU head's choice, two rounds": {CHOICE: 'ambiguous', ROUNDS: 2},
    "SAM 2's choice, two rounds": {CHOICE: 'stable', ROUNDS: 2},
}


def measure(name: str, weights: str, images: int | None, **options: object) -> dict[str, float]:
    """Test `weights` by the config `name` and return all metrics.

    Args:
        name: Name of the config.
        weights: Path of the checkpoint.
        images: Use only the first `images` of the test set; None uses all.
        options: Further changes to the config, keys with ``__`` in place of dots.
    """
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    config.model.pop('scene_head', None)  # training only
    config.test_evaluator = [dict(type='PromptIoUMetric', boundary='mtd' in name), dict(type='IoUCalibrationMetric')]
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset.indices = images
    config.update(load_from=weights, log_level='ERROR')
    config.visualizer.name = config.experiment_name = f'card_{len(options)}_{id(config)}'
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        with contextlib.redirect_stdout(sys.stderr):  # messages of mmengine are not part of the tables
            return Runner.from_cfg(config).test()


def enlarged(size: int) -> dict[str, object]:
    """Return the changes to `sam_tiny_pretrain` that enlarge its images to `size` pixels a side, prompts with them."""
    pipeline = Config.fromfile(CONFIGS / 'sam_tiny_pretrain_384.py').test_dataloader.dataset.pipeline
    for transform in pipeline:
        if transform.type == 'Resize':
            transform.scale = (size, size)
    return dict(model__data_preprocessor__size=(size, size), test_dataloader__dataset__pipeline=pipeline)


def row(label: str, metrics: dict[str, float], modes: Iterable[str], head: bool = True) -> str:
    """Format a row: mIoU of each mode, and with `head` correlation and calibration over all prompts."""
    cells = [f'{metrics[f"mIoU/{mode}"]:.1f}' for mode in modes]
    if head:
        correlation = metrics.get('correlation')
        cells += ['-' if correlation is None else f'{correlation:.2f}', f'{metrics["calibration"]:.1f}']
    return ' | '.join(['', label, *cells, '']).strip()


def fill_the_box(root: Path, split: str, images: int | None) -> tuple[float, float]:
    """Return the mean IoU in percent of filled boxes with MTD's masks: one box around all, and one for each defect."""
    dataset = DATASETS.build(
        dict(
            type='MTDDataset',
            data_root=str(root),
            ann_file=split,
            test_mode=True,
            indices=images,
            pipeline=[dict(type='mmseg.LoadImageFromFile'), dict(type='LoadBinaryMask')],
        )
    )
    one, each = [], []
    for sample in dataset:
        mask = (sample['gt_seg_map'] == 1).astype(np.uint8)
        stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:, :4]
        for boxes, results in (([cv2.boundingRect(mask)], one), (stats.tolist(), each)):
            filled = np.zeros_like(mask)
            for x, y, width, height in boxes:
                filled[y : y + height, x : x + width] = 1
            results.append((mask & filled).sum() / (mask | filled).sum())
    return 100 * float(np.mean(one)), 100 * float(np.mean(each))


def click(weights: str, images: int) -> np.ndarray:
    """Return the IoU after each of :data:`CLICKS` clicks on objects, (images, CLICKS); each gets the last mask, too."""
    inferencer = PromptSegInferencer('sam_tiny', weights=weights)
    objects = DATASETS.build(
        dict(type='SyntheticObjectsDataset', length=images, seed=3, min_area=144, max_targets=1, test_mode=True)
    )
    ious = np.zeros((images, CLICKS))
    for index in range(images):
        sample = objects.load_sample(index)
        clicker = Clicker(sample['gt_masks'][0] > 0)
        inferencer.set_image(sample['img'])
        predicted, low = np.zeros(sample['img'].shape[:2], bool), None
        for number in range(CLICKS):
            if clicker.next_click(predicted) is not None:
                masks, _, low = inferencer.predict(
                    points=[[[place.x, place.y] for place in clicker.clicks]],
                    point_labels=[[int(place.positive) for place in clicker.clicks]],
                    masks=low,
                    multimask='ambiguous',
                )
                predicted = masks[0]
            ious[index, number] = clicker.iou(predicted)
    return ious


def prompt_nothing(weights: str, images: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prompt the background of the images of objects, a point and a box each.

    Returns:
        'point' and 'box' -> estimated IoU (images,), and the share of the image that the mask covers (images,).
    """
    inferencer = PromptSegInferencer('sam_tiny', weights=weights)
    modes = dict(point=dict(kind='points', targets='background'), box=dict(kind='box', targets='background'))
    objects = DATASETS.build(
        dict(
            type='SyntheticObjectsDataset',
            length=images,
            seed=3,
            min_area=144,
            max_targets=1,
            test_mode=True,
            pipeline=[dict(type='GeneratePrompts', modes=modes, seed=0)],
        )
    )
    rows: dict[str, list[tuple[float, float]]] = {'point': [], 'box': []}
    for sample in objects:
        inferencer.set_image(sample['img'])
        point, box = sample['prompts'].points[0], sample['prompts'].boxes[1]
        for kind, prompt in (('point', dict(points=point[None], point_labels=[[1]])), ('box', dict(boxes=box[None]))):
            masks, scores, _ = inferencer.predict(**prompt, box_format='xyxy')
            rows[kind].append((float(scores[0]), float(masks[0].mean())))
    return {kind: (np.array([score for score, _ in pairs]), np.array([area for _, area in pairs])) for kind, pairs in
            rows.items()}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', nargs='?', default='mmsam_ext://sam_tiny')
    parser.add_argument('--tables', nargs='+', type=one_of(TABLES), default=list(TABLES), help=', '.join(TABLES))
    parser.add_argument('--images', type=int, help='use only the first IMAGES of each set (default: all)')
    parser.add_argument('--mtd', type=Path, default=Path('data/mtd'))
    parser.add_argument('--split', default='val.txt')
    parser.add_argument('--photographs', help='folder for the scenes; without it they have no photographs')
    args = parser.parse_args()
    if args.images is not None and args.images < 1:
        parser.error(f'--images {args.images}: expected 1 or more')
    if 'mtd' in args.tables and not (args.mtd / args.split).is_file():
        parser.error(f'--mtd {args.mtd}: no file {args.split} there; expected the folder of MTD, or other --tables')
    pretrain = ['box', 'box noise 0.4', '1 point', '5 points']

    def objects(label: str, **options: object) -> None:
        print(row(label, measure('sam_tiny_pretrain', args.weights, args.images, **options), pretrain), flush=True)

    head = '| '.join(['', 'mIoU in % ', *[f'{mode} ' for mode in pretrain], 'correlation ', 'calibration ', '']).strip()
    if set(args.tables) & {'objects', 'choice', 'sizes', 'scenes'}:
        print(head, '|' + ' --- |' * (len(pretrain) + 3), sep='\n', flush=True)
    if 'objects' in args.tables:
        objects('objects, 1 point: best of three')
    if 'choice' in args.tables:
        objects("objects, 1 point: the IoU head's choice", **{CHOICE: 'ambiguous'})
    for size in (384, 576) if 'sizes' in args.tables else ():
        for label, choice in CHOICES.items():
            if size == 576 and choice != {CHOICE: 'oracle'}:
                continue
            objects(f'objects enlarged to {size} px, {label}', **enlarged(size), **choice)
    if 'scenes' in args.tables:
        scenes = dict(type='SyntheticScenesDataset', seed=13, photographs=args.photographs)
        objects('scenes, best of three', **{f'test_dataloader__dataset__{key}': value for key, value in scenes.items()})
    if 'clicks' in args.tables:
        ious = click(args.weights, args.images or 500)
        noc = {t: number_of_clicks(ious, t)[0].mean() for t in (0.8, 0.85)}
        after = ', '.join(f'{k}: {100 * ious[:, k - 1].mean():.1f}' for k in (1, 3, 5, 8))
        print(f'\nclicks on {len(ious)} objects, mIoU after {after}; of at most {CLICKS} clicks, ', end='')
        print(', '.join(f'NoC{100 * t:.0f} {number:.2f}' for t, number in noc.items()), flush=True)
    if 'background' in args.tables:
        for kind, (scores, areas) in prompt_nothing(args.weights, args.images or 500).items():
            low, area = 100 * (scores < 0.5).mean(), 100 * areas.mean()
            print(
                f'\na {kind} on the background of {len(scores)} images: estimated IoU {100 * scores.mean():.1f}, ',
                end='',
            )
            print(f'below 50 for {low:.1f} % of them; masks cover {area:.1f} % of the image', flush=True)
    if 'mtd' in args.tables:
        modes = ['box', 'boxes', '5 points', '10 points']
        print(f'\n| MTD {args.split} | ' + ' | '.join(modes) + ' | correlation | calibration |\n|' + ' --- |' * 7)
        settings = [(choice, rounds) for rounds in (1, 2) for choice in (False, 'stable')]
        for size, (choice, rounds) in itertools.product((256, 384, 576), settings):
            if size != 384 and rounds == 2:
                continue
            metrics = measure(
                'sam_tiny_mtd',
                args.weights,
                args.images,
                model__data_preprocessor__size=(size, size),
                **{CHOICE: choice, ROUNDS: rounds},
                test_dataloader__dataset__data_root=str(args.mtd),
                test_dataloader__dataset__ann_file=args.split,
                test_dataloader__dataset__pipeline__3__scale=(size, size),
            )
            label = f'{size} px{", SAM 2 choice" * (choice == "stable")}{", two rounds" * (rounds == 2)}'
            print(row(label, metrics, modes), flush=True)
        one, each = fill_the_box(args.mtd, args.split, args.images)
        print(f'| fill the box | {one:.1f} | {each:.1f} | | | | |')


if __name__ == '__main__':
    main()
