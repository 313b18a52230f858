"""Collect the scores of labelled images, from which thresholds are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.logging import print_log

from mmsam_ext.checkpoints.base import file_hash
from mmsam_ext.datasets import BinaryDefectDataset
from mmsam_ext.evaluation.functional import bin_scores, score_bins, score_histogram
from mmsam_ext.evaluation.functional.anomaly_scores import BINS

from ..errors import InferenceError
from ..image_inputs import Source
from ..prompt_seg_inferencer import PromptSegInferencer
from .decision import Decision
from .inspector import whole_image_logits


class LabelledScore(NamedTuple):
    """What the model says of a labelled image.

    Attributes:
        name: The sample.
        path: Its image file.
        score: Highest logit.
        defective: Whether its mask has foreground.
        counts: (2, BINS) histograms of the logits of pixels outside and inside the mask.
    """

    name: str
    path: str
    score: float
    defective: bool
    counts: torch.Tensor


class Calibration(NamedTuple):
    """The decision, and for each validation image its path and the F1 (Dice) of its pixels at the pixel threshold."""

    decision: Decision
    paths: tuple[str, ...]
    dice: tuple[float, ...]


def labelled_folder(folder: str | Path, ann_file: str = '') -> BinaryDefectDataset:
    """Return the labelled images of a folder, those without a defect among them; images without a mask are left out.

    Raises:
        FileNotFoundError: A folder or a list is missing.
        ValueError: A file is damaged, or is not what it should be.
    """
    return BinaryDefectDataset(
        data_root=str(folder), ann_file=ann_file, missing_mask='drop', drop_empty=False, serialize_data=False
    )


def calibrate(
    inferencer: PromptSegInferencer,
    dataset: BinaryDefectDataset,
    weights: str | Path,
    config: str,
    classes: tuple[str, ...] | None = None,
) -> Calibration:
    """Score labelled images, and choose the pixel threshold of the best F1 over all their pixels.

    Args:
        inferencer: The model with the weights.
        dataset: Images that were not trained on.
        weights: The checkpoint, for its hash.
        config: Name of the config, as :class:`Decision` stores it.
        classes: Names of the classes of defects; None for those of the model's data set, 'defect' without several.

    Raises:
        InferenceError: An image cannot be used, or there is none.
    """
    rows = list(labelled_scores(partial(whole_image_logits, inferencer), dataset))
    return calibration_of(rows, file_hash(str(weights)), config, classes or _classes_of(inferencer))


def calibration_of(
    rows: Sequence[LabelledScore], weights_sha256: str, config: str, classes: tuple[str, ...]
) -> Calibration:
    """Choose the pixel threshold of the best F1 over all pixels of labelled images.

    Args:
        rows: The images.
        weights_sha256: Hash of the checkpoint.
        config: Name of the config.
        classes: Names of the classes of defects.

    Raises:
        InferenceError: There is no image.
    """
    if not rows:
        raise InferenceError('calibration: there are no labelled images')
    normal, defect = torch.stack([row.counts for row in rows]).sum(0)
    threshold = _best_f1_threshold(normal, defect)
    decision = Decision(
        weights_sha256, config, classes, threshold,
        tuple(row.name for row in rows), tuple(row.score for row in rows), tuple(row.defective for row in rows),
    )  # fmt: skip
    cut = int(score_bins(torch.tensor([threshold]))[0])
    if not decision.normals:
        print_log(
            'None of the validation images is without a defect: scores are not calibrated, and false alarms cannot be '
            'counted. Add images without a defect to the data set',
            logger='current',
        )
    return Calibration(decision, tuple(row.path for row in rows), tuple(_dice(row.counts, cut) for row in rows))


def _classes_of(inferencer: PromptSegInferencer) -> tuple[str, ...]:
    number = inferencer.model.num_classes or 1
    names = tuple((getattr(inferencer.model, 'dataset_meta', None) or {}).get('classes', ()))[1:]
    if number == 1:
        return ('defect',)
    return names if len(names) == number else tuple(f'class {label}' for label in range(1, number + 1))


def labelled_scores(
    logits_of: Callable[[Source], tuple[np.ndarray, np.ndarray] | dict[str, Any]], dataset: BinaryDefectDataset
) -> Iterator[LabelledScore]:
    """Compare a model's logits with the masks of labelled images.

    Args:
        logits_of: Returns logits (K, H, W) and the image, or a dict with `error`.
        dataset: The images.

    Raises:
        InferenceError: An image cannot be used.
    """
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        answer = logits_of(Source(info['sample_id'], info['img_path']))
        if isinstance(answer, dict):
            raise InferenceError(f'calibration: {answer["error"]}')
        logits = torch.from_numpy(answer[0].max(0))
        mask = torch.from_numpy(dataset.read_mask(info) == 1)
        bins = score_bins(logits)
        counts = torch.stack([score_histogram(bins[~mask]), score_histogram(bins[mask])])
        yield LabelledScore(info['sample_id'], info['img_path'], float(logits.max()), bool(mask.any()), counts)


def _best_f1_threshold(normal: torch.Tensor, defect: torch.Tensor) -> float:
    """Return the logit above which pixels give the best F1, by histograms (BINS,); 0 without a defect."""
    if not defect.any():
        return 0.0
    hits, alarms = defect.flip(0).cumsum(0), normal.flip(0).cumsum(0)
    best = BINS - 1 - int((2 * hits / (hits + alarms + defect.sum())).argmax())
    return float(bin_scores()[best])


def _dice(counts: torch.Tensor, cut: int) -> float:
    """Return the F1 of the pixels from bin `cut` on; 1 where there is no defect and none is found."""
    hits, alarms, total = counts[1, cut:].sum(), counts[0, cut:].sum(), counts[1].sum()
    below = hits + alarms + total
    return float(2 * hits / below) if below else 1.0


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Shrink an image (H, W, 3) so that its longer side has at most `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size: Any = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
