"""Show what tiles do for defects of 12 pixels in an image of 24 megapixels, prompted by boxes or in everything mode.

Draws a procedural image with round defects, segments it with the mini SAM in one input and on tiles, and prints IoU,
CPU time per megapixel and peak memory. Each setting runs in a process of its own. Without prompts ("free"), the mini
SAM has nothing that finds defects, so only time and memory mean something.

Usage: python tools/analysis/tiles_demo.py [--mode boxes|everything|free] [--size 4000 6000] [--defects 40]
"""

from __future__ import annotations

import argparse
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SETTINGS = ('whole', 'tiles')
#: Pixels of an image that is drawn; a float of each is held.
LARGEST = 2**29


def draw(height: int, width: int, defects: int, diameter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a noisy image (H, W, 3) uint8 with round dark defects, their labels (H, W) and boxes (P, 4)."""
    rng = np.random.default_rng(0)
    image = rng.normal(150, 8, (height, width)).astype(np.float32)
    labels = np.zeros((height, width), np.int32)
    boxes = []
    y, x = np.mgrid[:diameter, :diameter] - (diameter - 1) / 2
    disc = y**2 + x**2 <= (diameter / 2) ** 2
    while len(boxes) < defects:
        top, left = int(rng.integers(0, height - diameter)), int(rng.integers(0, width - diameter))
        window = np.s_[top : top + diameter, left : left + diameter]
        if labels[window].any():
            continue
        boxes.append([left, top, left + diameter - 1, top + diameter - 1])
        labels[window][disc] = len(boxes)
        image[window][disc] -= 70
    grey = image.clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2), labels, np.array(boxes, np.float32)


def memory(field: str) -> float:
    """Return a field of this process's memory status on Linux in GB: 'VmRSS' in use, 'VmHWM' its peak."""
    lines = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    return int(lines[field].split()[0]) / 1e6


def forget_peak() -> float:
    """Let the peak memory start anew, so that drawing the image does not count; return GB in use now."""
    Path('/proc/self/clear_refs').write_text('5')
    return memory('VmRSS')


def run_inferencer(setting: str, args: argparse.Namespace) -> None:
    """Segment everything, or without a prompt, in one setting and print a row of the table."""
    from mmsam_ext.apis import PromptSegInferencer, SegmentEverything
    from mmsam_ext.apis.image_inputs import Source
    from mmsam_ext.apis.model_loading import load_config
    from mmsam_ext.apis.rle import decode_rle
    from mmsam_ext.apis.segmented import segment_packed
    from mmsam_ext.structures import Prompts

    image, labels, _ = draw(*args.size, args.defects, args.diameter)
    config = load_config('sam_tiny_synthetic')
    config.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile')]
    if setting == 'tiles':
        config.model.data_preprocessor.update(size=None, size_divisor=16)
        config.model.test_cfg = dict(mode='slide', crop_size=(256, 256), stride=(192, 192), overview=False)
    inferencer = PromptSegInferencer(config, device='cpu')
    before, start = forget_peak(), time.process_time()
    scores = np.zeros(args.defects)
    if args.mode == 'everything':
        everything = SegmentEverything(
            inferencer, points_per_side=args.points, pred_iou_thresh=0.5, stability_score_thresh=0.7
        )
        everything.output_mode = 'uncompressed_rle'
        areas = np.bincount(labels.ravel(), minlength=args.defects + 1)
        for record in everything(image):
            found = decode_rle(record['segmentation'])
            both = np.bincount(labels[found], minlength=args.defects + 1)
            iou = both / np.maximum(1, areas + record['area'] - both)
            scores = np.maximum(scores, iou[1:])
    else:
        pipeline = inferencer.pipeline  # a call of the inferencer rejects the empty prompt
        packed = pipeline.pack(pipeline.load(Source('image', array=image)), Prompts.empty())
        segment_packed(inferencer.model, [packed], None)[0].prediction(inferencer.chunk_bytes)
    row(setting, scores, time.process_time() - start, before, args)


def row(setting: str, scores: np.ndarray, seconds: float, before: float, args: argparse.Namespace) -> None:
    """Print a row of the table: IoU of each defect, CPU seconds, and gigabytes in use before the work."""
    megapixels = args.size[0] * args.size[1] / 1e6
    peak = memory('VmHWM')
    print(
        f'| {setting} | {100 * np.mean(scores):.1f} | {sum(score > 0.5 for score in scores)} of {len(scores)} '
        f'| {seconds / megapixels:.2f} | {peak - before:.2f} |',
        flush=True,
    )


def run(setting: str, args: argparse.Namespace) -> None:
    """Segment the image by boxes in one setting and print a row of the table."""
    import torch
    from mmseg.structures import SegDataSample

    from mmsam_ext.apis.model_loading import load_config, load_model
    from mmsam_ext.models.segmentors.sliding import SlideSettings, slide
    from mmsam_ext.structures import PromptBatch, Prompts

    image, labels, boxes = draw(*args.size, args.defects, args.diameter)
    config = load_config('sam_tiny_synthetic')
    config.model.data_preprocessor.update(size=None, size_divisor=16)
    model = load_model(config, device='cpu')
    before = forget_peak()
    start = time.process_time()
    scale = 1.0 if setting == 'tiles' else 256 / max(args.size)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    if scale < 1:
        size = [round(side * scale) for side in args.size]
        tensor = torch.nn.functional.interpolate(tensor[None].float(), size, mode='bilinear', antialias=True)[0].byte()
    factors = (tensor.shape[2] / args.size[1], tensor.shape[1] / args.size[0])
    sample = SegDataSample(metainfo=dict(img_shape=tuple(tensor.shape[1:]), ori_shape=tuple(args.size)))
    sample.prompts = Prompts.create(boxes=boxes).scaled(*factors)
    (uncut,), (sample,) = model.data_preprocessor.uncut(dict(inputs=[tensor], data_samples=[sample]))
    batch = PromptBatch.from_prompts([sample.prompts], uncut.size)
    side = 256 if setting == 'tiles' else max(uncut.size)
    settings = SlideSettings((side, side), (side * 3 // 4 // 16 * 16,) * 2, overview=False)
    with torch.no_grad():
        masks = slide(model, uncut, batch, settings)
        scores = []
        for index in range(len(boxes)):
            logits = masks.logits(index)[: tensor.shape[1], : tensor.shape[2]]
            if scale < 1:
                logits = torch.nn.functional.interpolate(logits[None, None], args.size, mode='bilinear')[0, 0]
            found, true = (logits > 0).numpy(), labels == index + 1
            scores.append((found & true).sum() / max(1, (found | true).sum()))
    row(setting, np.array(scores), time.process_time() - start, before, args)


def main() -> None:
    """Run every setting in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mode', choices=('boxes', 'everything', 'free'), default='boxes')
    parser.add_argument('--points', type=int, default=24, help='points along a side of a tile, in everything mode')
    parser.add_argument('--size', type=int, nargs=2, default=(4000, 6000), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--defects', type=int, default=40)
    parser.add_argument('--diameter', type=int, default=12, help='in pixels')
    parser.add_argument('--setting', choices=SETTINGS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    area = args.size[0] * args.size[1]
    if args.diameter < 1 or args.defects < 1 or min(args.size) <= args.diameter:
        parser.error(
            f'--size {args.size[0]} {args.size[1]} --defects {args.defects} --diameter {args.diameter}: expected 1 or '
            'more of each, and an image that is larger than a defect'
        )
    if area > LARGEST:
        parser.error(f'--size {args.size[0]} {args.size[1]}: {area} pixels, expected at most {LARGEST}')
    if args.defects * args.diameter**2 > area / 4:  # drawn at random places, they would not find room any more
        parser.error(f'--defects {args.defects}: expected at most {area // (4 * args.diameter**2)} of this diameter')
    if args.setting:
        (run if args.mode == 'boxes' else run_inferencer)(args.setting, args)
        return
    print('| setting | mIoU | IoU > 50 % | CPU s per megapixel | memory above the model, GB |')
    print('| --- | --- | --- | --- | --- |', flush=True)
    for setting in SETTINGS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], '--setting', setting], check=True)


if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).resolve().parents[1] / '_bootstrap.py'))
    main()
