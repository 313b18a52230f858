"""Segment everything in an image, or in each image of a folder, without a prompt.

The arguments are in :mod:`.arguments.everything`.
"""

from __future__ import annotations

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

from .arguments.everything import parse
from .infer import messages_to_stderr


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
    path = Path(source.path or source.name)
    stem = f'{path.stem}_{path.suffix[1:]}'
    return f'{stem}_everything.png', f'{stem}_everything.json'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(arguments)
    failed, stdout, empty = [], sys.stdout, True
    try:
        with messages_to_stderr():
            sources = list_sources(args.inputs)
            folder = ResultFolder(args.out, args.overwrite)
            files = [name for source in sources for name in names(source)]
            folder.check(files)
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
            folder.prepare(files)
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
                empty = empty and not records
    except (InferenceError, OSError) as error:
        print(f'everything: error: {" ".join(str(error).split())}', file=sys.stderr)
        return 2
    if empty and len(failed) < len(sources):
        print(
            f'No image has a mask with a predicted IoU of at least {args.pred_iou} and a stability of at least '
            f'{args.stability}; lower --pred-iou or --stability. A small model such as sam_tiny is seldom so sure.',
            file=sys.stderr,
        )
    if failed:
        print(f'{len(failed)} of {len(sources)} images could not be used: {", ".join(failed)}', file=sys.stderr)
    return 1 if failed else 0
