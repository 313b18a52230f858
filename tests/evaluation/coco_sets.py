"""Random small sets of annotations and predictions, for mask AP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as mask_tools

SIZE = (120, 160)


def random_mask(rng: np.random.Generator, around: np.ndarray | None = None) -> np.ndarray:
    """(H, W) uint8, an ellipse from 3 to 100 pixels wide, or `around` shifted a little."""
    if around is not None:
        return np.roll(around, rng.integers(-3, 4, 2), (0, 1))
    mask = np.zeros(SIZE, np.uint8)
    centre = [int(value) for value in rng.integers(0, SIZE[::-1])]
    axes = [int(value) for value in np.exp(rng.uniform(0.5, 4, 2))]
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    return mask


def encode(mask: np.ndarray) -> dict[str, Any]:
    rle = mask_tools.encode(np.asfortranarray(mask))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def random_set(seed: int) -> tuple[dict, dict[int, dict]]:
    """Annotations, and of each image masks (P, H, W), scores, ious and categories (P,) of its prompts.

    Among them are ties, crowds, images without truth, without predictions or with empty masks, and at times more than
    100 detections of one category.
    """
    rng = np.random.default_rng(seed)
    images = [
        dict(id=int(number), height=SIZE[0], width=SIZE[1]) for number in rng.permutation(50)[: rng.integers(1, 6)]
    ]
    annotations, found = [], {}
    for image in images:
        truth = [random_mask(rng) for _ in range(rng.integers(0, 5))]
        for mask in truth:
            crowd = int(rng.random() < 0.2)
            rle = encode(mask)
            annotations.append(
                dict(
                    id=len(annotations) + 1, image_id=image['id'], category_id=int(rng.integers(1, 4)), iscrowd=crowd,
                    segmentation=rle, area=float(mask.sum()), bbox=[float(x) for x in mask_tools.toBbox(rle)],
                )
            )  # fmt: skip
        number = 0 if rng.random() < 0.15 else int(rng.integers(101, 130) if seed % 10 == 0 else rng.integers(1, 9))
        masks = [
            random_mask(rng, truth[rng.integers(len(truth))] if truth and rng.random() < 0.8 else None)
            for _ in range(number)
        ]
        if masks and rng.random() < 0.3:
            masks[0] = np.zeros(SIZE, np.uint8)
        found[image['id']] = dict(
            masks=np.stack(masks) if masks else np.zeros((0, *SIZE), np.uint8),
            scores=rng.integers(1, 5, number) / 4,  # ties
            ious=rng.integers(1, 5, number) / 4,
            categories=np.full(number, 1) if seed % 10 == 0 else rng.integers(1, 4, number),
        )
    categories = [dict(id=number, name=str(number)) for number in (1, 2, 3)]
    return dict(images=images, annotations=annotations, categories=categories), found


def sample(image_id: int, ann_file: Path, found: dict, dataset: str = 'coco', draw: int = 0) -> dict[str, Any]:
    """A predicted sample as the metric receives it."""
    number = len(found['masks'])
    logits = torch.from_numpy(found['masks']).float() * 2 - 1
    empty = number == 0  # has the empty prompt, which the metric must leave out
    return dict(
        img_id=image_id, ann_file=str(ann_file), sample_id=f'image {image_id}', dataset_name=dataset,
        prompts=dict(modes=('box',)),
        prompt_info=dict(
            scores=torch.from_numpy(found['scores'].astype(float)), category_ids=torch.from_numpy(found['categories'])
        ),
        pred_instances=dict(
            mask_logits=torch.ones(1, *SIZE) if empty else logits,
            iou_scores=torch.ones(1) if empty else torch.from_numpy(found['ious']),
            mode_ids=torch.zeros(max(1, number), dtype=torch.int64),
            draw_ids=torch.full((max(1, number),), draw),
        ),
    )  # fmt: skip
