"""What the page proposes before anything was trained: everything, or what a detector's boxes or words find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmsam_ext.datasets.binary_defect import image_files
from mmsam_ext.models.automatic import BoxSource

from ..errors import InferenceError
from ..exchange.labelled import Instance
from ..image_inputs import Source
from ..outside_prompts import file_prompts, text_prompts
from ..prompt_seg_inferencer import PromptSegInferencer
from ..prompt_sets import PromptSet
from ..rle import decode_rle
from ..segment_everything import SegmentEverything

#: Proposes for the image at a path.
FirstProposals = Callable[[PromptSegInferencer, str], list[Instance]]
#: Points along a side of the grid, least predicted IoU and stability of a mask, its largest share of the image, and
#: number of proposals, of everything.
GRID, LEAST_IOU, LEAST_STABILITY, LARGEST_SHARE, MOST = 16, 0.7, 0.85, 0.1, 40


def everything(inferencer: PromptSegInferencer, path: str) -> list[Instance]:
    """Return all small objects of an image, the most certain first; the user deletes the others."""
    segment = SegmentEverything(
        inferencer, points_per_side=GRID, pred_iou_thresh=LEAST_IOU, stability_score_thresh=LEAST_STABILITY
    )
    segment.output_mode = 'uncompressed_rle'  # memory must not grow with masks times pixels
    records = sorted(segment(path), key=lambda record: -record['predicted_iou'])
    found = []
    for record in records:
        height, width = record['segmentation']['size']
        if record['area'] <= LARGEST_SHARE * height * width and len(found) < MOST:
            found += _instances([decode_rle(record['segmentation'])], [record['predicted_iou']], [''])
    return found


def by_boxes(file: str, images: str) -> FirstProposals:
    """Return proposals by the boxes and points that a file has for each image.

    Args:
        file: As for `infer --prompts`: COCO's result format with `file_name`, CSV, or COCO annotations.
        images: The folder of images.

    Raises:
        InferenceError: The file cannot be used, or names none of the images.
    """
    sources = [Source(Path(path).name, path) for path in image_files(images).values()]
    sets = dict(zip([source.path for source in sources], file_prompts(file, sources), strict=True))

    def propose(inferencer: PromptSegInferencer, path: str) -> list[Instance]:
        return _of_prompts(inferencer, path, sets.get(path, PromptSet.nothing()))

    return propose


def by_words(text: str, detector: BoxSource) -> FirstProposals:
    """Return proposals by words, each followed by a full stop ('scratch. dent.'), which the detector looks for."""

    def propose(inferencer: PromptSegInferencer, path: str) -> list[Instance]:
        (prompts,) = text_prompts(inferencer, path, text, detector)
        return _of_prompts(inferencer, path, prompts)

    return propose


def _of_prompts(inferencer: PromptSegInferencer, path: str, prompts: PromptSet) -> list[Instance]:
    if not prompts.number:
        return []
    (result,) = inferencer.iterate(path, prompts=[prompts], rle=True)
    if 'error' in result:
        raise InferenceError(result['error'])
    names = [phrase.rsplit(' ', 1)[0] for phrase in prompts.phrases] or [''] * prompts.number
    return _instances([decode_rle(one) for one in result['rles']], result['scores'], names)


def _instances(masks: list[np.ndarray], scores: list[float], names: list[str]) -> list[Instance]:
    """Cut masks (H, W) bool to their boxes; empty ones are left out."""
    found = []
    for mask, score, name in zip(masks, scores, names, strict=True):
        if mask.any():
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            box = (x, y, width, height)
            found.append(Instance(name, box, mask[y : y + height, x : x + width].astype(bool), float(score)))
    return found
