"""COCO's average precision of masks, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmsam_ext.structures.coco_files import read_coco

from .boundary import mask_boundary

#: COCO's ranges of areas in pixels.
SIZES = dict(s='small', m='medium', l='large')


class MaskDetection(NamedTuple):
    """A predicted mask.

    Attributes:
        image_id, category_id: As in the annotation file.
        score: Higher is more certain.
        rle: Mask as pycocotools encodes it: ``size`` and ``counts``.
        boundary: The pixels near its contour, likewise; None where boundary AP is not computed.
    """

    image_id: int
    category_id: int
    score: float
    rle: dict[str, Any]
    boundary: dict[str, Any] | None = None


def pycocotools() -> ModuleType:
    """Return pycocotools with its modules ``coco``, ``cocoeval`` and ``mask`` imported.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    try:
        import pycocotools.coco
        import pycocotools.cocoeval
        import pycocotools.mask
    except ImportError as error:
        raise ImportError(
            f'COCO annotations and mask AP need pycocotools ({error}); install it by: pip install "mmsam_ext[coco]"'
        ) from error
    return pycocotools


def load_annotations(path: str) -> Any:
    """Load a COCO annotation file for evaluation; `iscrowd` is 0 where it is missing, as in LVIS.

    Returns:
        ``pycocotools.coco.COCO``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not JSON with images, annotations and categories, or an annotation lacks its mask; the
            message names the file and the annotation.
    """
    data = read_coco(path)
    for annotation in data['annotations']:
        if 'segmentation' not in annotation:
            raise ValueError(f'{path}: annotation {annotation.get("id")} has no `segmentation`, expected its mask')
        annotation.setdefault('iscrowd', 0)
    truth = pycocotools().coco.COCO()
    truth.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    for annotation in data['annotations']:
        if 'area' not in annotation:
            annotation['area'] = float(pycocotools().mask.area(truth.annToRLE(annotation)))
    return truth


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """Encode masks (P, H, W) bool as P run-length encodings, which take a few hundred bytes each."""
    if not len(masks):
        return []
    array = masks.to(torch.uint8).cpu().numpy()
    return pycocotools().mask.encode(np.asfortranarray(array.transpose(1, 2, 0)))  # (H, W, P)


def encode_boundaries(masks: Tensor, dilation_ratio: float) -> list[dict[str, Any]]:
    """Encode the boundary regions of masks (P, H, W) bool; see :func:`mask_boundary`."""
    return encode_masks(mask_boundary(masks, dilation_ratio)) if len(masks) else []


def mask_ap(
    truth: Any, detections: Iterable[MaskDetection], image_ids: Sequence[int], max_detections: int | None = 100
) -> dict[str, float]:
    """Compute COCO's mask AP; the numbers are pycocotools' to the last digit.

    Args:
        truth: ``pycocotools.coco.COCO`` of the annotations.
        detections: Of all images, those of one image in the order in which equal scores rank.
        image_ids: Images that are evaluated.
        max_detections: Of an image and category, the highest scores; None: all.

    Returns:
        AP (mean over IoU 0.5 to 0.95), AP50, AP75, APs, APm, APl in [0, 1], without those that are undefined because
        there is nothing to find.
    """
    evaluator = _evaluator(pycocotools().cocoeval.COCOeval, truth, detections, image_ids, max_detections)
    return _summary(evaluator)


def boundary_ap(
    truth: Any,
    detections: Iterable[MaskDetection],
    image_ids: Sequence[int],
    max_detections: int | None = 100,
    dilation_ratio: float = 0.02,
) -> dict[str, float]:
    """Compute boundary AP: as :func:`mask_ap`, but masks match by the smaller of mask IoU and boundary IoU.

    Paper: Boundary IoU (arXiv:2103.16562, section 5).

    Args:
        truth: See :func:`mask_ap`.
        detections: See :func:`mask_ap`; each has a `boundary`.
        image_ids: See :func:`mask_ap`.
        max_detections: See :func:`mask_ap`.
        dilation_ratio: Width of the boundary region as a fraction of the image diagonal.
    """
    coco = pycocotools()

    class BoundaryEval(coco.cocoeval.COCOeval):
        def computeIoU(self, image_id: int, category_id: int) -> Any:  # noqa: N802 (pycocotools' name)
            ious = super().computeIoU(image_id, category_id)
            if not len(ious):
                return ious
            found, wanted = self._dts[image_id, category_id], self._gts[image_id, category_id]
            found = [found[i] for i in np.argsort([-one['score'] for one in found], kind='mergesort')]  # as above
            boundaries = [_boundary_of(self.cocoGt, one, dilation_ratio) for one in wanted]
            crowd = [int(one['iscrowd']) for one in wanted]
            found = [one['boundary'] for one in found[: self.params.maxDets[-1]]]
            return np.minimum(ious, coco.mask.iou(found, boundaries, crowd))

    return _summary(_evaluator(BoundaryEval, truth, detections, image_ids, max_detections))


def _boundary_of(truth: Any, annotation: Mapping[str, Any], dilation_ratio: float) -> dict[str, Any]:
    mask = torch.from_numpy(truth.annToMask(annotation).astype(bool))[None]
    return encode_boundaries(mask, dilation_ratio)[0]


def _evaluator(
    kind: type, truth: Any, detections: Iterable[MaskDetection], image_ids: Sequence[int], most: int | None
) -> Any:
    """COCOeval after ``evaluate`` and ``accumulate``; what it prints is dropped."""
    rows = [
        dict(
            image_id=one.image_id,
            category_id=one.category_id,
            score=one.score,
            segmentation=one.rle,
            boundary=one.boundary,
        )
        for one in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        # pycocotools decides by the first result what kind they are, and cannot do without any.
        found = truth.loadRes(rows) if rows else pycocotools().coco.COCO()
        evaluator = kind(truth, found, 'segm')
        evaluator.params.imgIds = sorted(image_ids)
        evaluator.params.maxDets = [max(1, len(rows)) if most is None else most]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _summary(evaluator: Any) -> dict[str, float]:
    precision = evaluator.eval['precision'][..., -1]  # (IoU thresholds, recalls, categories, areas)
    thresholds = evaluator.params.iouThrs
    areas = evaluator.params.areaRngLbl
    chosen = {
        'AP': precision[..., areas.index('all')],
        'AP50': precision[np.isclose(thresholds, 0.5)][..., areas.index('all')],
        'AP75': precision[np.isclose(thresholds, 0.75)][..., areas.index('all')],
        **{f'AP{letter}': precision[..., areas.index(name)] for letter, name in SIZES.items()},
    }
    return {name: float(np.mean(values[values > -1])) for name, values in chosen.items() if (values > -1).any()}
