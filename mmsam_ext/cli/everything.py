"""Segment everything in an image, or in each image of a folder, without a prompt.

    python -m mmsam_ext everything IMAGE_OR_DIR [MODEL] --out DIR [--points-per-side 32] [--pred-iou 0.88]
        [--stability 0.95] [--crop-layers 0] [--min-area 0]

Writes DIR/NAME_everything.png, the image with every mask in a colour of its own, and DIR/NAME_everything.json, the
records of its masks: bbox (x, y, width, height), area, predicted_iou, stability_score, point_coords, crop_box, and
segmentation as an uncompressed run-length encoding (COCO's). Exit code: 0; 1 if some images could not be used; 2 for an
error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmsam_ext.apis import InferenceError, PromptSegInferencer, SegmentEverything
from mmsam_ext.apis.image_inputs import Source, list_sources
from mmsam_ext.apis.model_loading import in_dtype, load_config
from mmsam_ext.utils import ResultFolder, printable

from .infer import DEFAULT_MODEL, messages_to_stderr
from .measuring import DTYPES


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', metavar='IMAGE_OR_DIR', help='image file, or folder of them')
    parser.add_argument('model', metavar='MODEL', nargs='?', default=DEFAULT_MODEL, help='config name or path')
    parser.add_argument('--out', metavar='DIR', required=True, help='where to write pictures and records')
    parser.add_argument('--weights', help="checkpoint; default: the config's own")
    parser.add_argument(
        '--untrained', action='store_true', help='go on if the weights lack parts that this config trains'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ...; default: a GPU if there is one')
    parser.add_argument('--dtype', choices=DTYPES, help='format to compute in; auto: bf16 where that is fast')
    parser.add_argument('--points-per-side', type=int, default=32, help='points along each side of the grid')
    parser.add_argument('--pred-iou', type=float, default=0.88, help='least predicted IoU of a mask')
    parser.add_argument('--stability', type=float, default=0.95, help='least stability score of a mask')
    parser.add_argument('--crop-layers', type=int, default=0, help='layers of tiles that are segmented, too')
    parser.add_argument('--min-area', type=int, default=0, help='regions and holes of fewer pixels are removed')
    parser.add_argument('--overwrite', action='store_true', help='replace files that no earlier run wrote, too')
    return parser.parse_args(arguments)


def draw(image: np.ndarray, records: Sequence[dict[str, Any]]) -> np.ndarray:
    """Paint masks over an image, large ones first.

    Args:
        image: (H, W, 3) uint8 BGR.
        records: As :class:`SegmentEverything` returns them.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    painted = image.copy()
    colours = np.random.default_rng(0).integers(0, 256, (len(records), 3))
    ordered = sorted(records, key=lambda record: record['area'], reverse=True)
    for record, colour in zip(ordered, colours, strict=True):
        mask = record['segmentation']
        painted[mask] = (0.5 * image[mask] + 0.5 * colour).astype(np.uint8)
    return painted


def run_length(mask: np.ndarray) -> dict[str, list[int]]:
    """Return COCO's uncompressed run-length encoding of a mask (H, W) bool: runs by column, background first."""
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return dict(size=list(mask.shape), counts=runs.tolist())


def write(folder: ResultFolder, source: Source, image: np.ndarray, records: Sequence[dict[str, Any]]) -> None:
    """Write the picture and the records of an image."""
    picture, table = names(source)
    folder.write(picture, cv2.imencode('.png', draw(image, records))[1].tobytes())
    rows = [record | dict(segmentation=run_length(record['segmentation'])) for record in records]
    folder.write(table, json.dumps(rows).encode())


def names(source: Source) -> tuple[str, str]:
    """Return the files of an image: its picture, its records. Its suffix stays, since two images may differ in it."""
    stem = Path(source.path or source.name).name.replace('.', '_')
    return f'{stem}_everything.png', f'{stem}_everything.json'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    failed, stdout = [], sys.stdout
    try:
        with messages_to_stderr():
            sources = list_sources(args.inputs)
            folder = ResultFolder(args.out, args.overwrite)
            folder.check([name for source in sources for name in names(source)])
            config = in_dtype(load_config(args.model), args.dtype)
            inferencer = PromptSegInferencer(config, args.weights, args.device, args.untrained)
            everything = SegmentEverything(
                inferencer,
                points_per_side=args.points_per_side,
                pred_iou_thresh=args.pred_iou,
                stability_score_thresh=args.stability,
                crop_n_layers=args.crop_layers,
                min_mask_region_area=args.min_area,
            )
            for source in sources:
                try:
                    image = inferencer.pipeline.load(source)['img']
                    records = everything.generate(image)
                except InferenceError as error:
                    failed.append(source.name)
                    print(f'{printable(source.name)}: {error}', file=sys.stderr)
                    continue
                write(folder, source, image, records)
                print(f'{printable(source.name)}: {len(records)} masks', file=stdout, flush=True)
    except (InferenceError, OSError) as error:
        print(f'everything: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    if failed:
        print(f'{len(failed)} of {len(sources)} images could not be used: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0
