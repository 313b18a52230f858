"""What a data sample says: its name, its dataset, its ground truth, its ignored pixels; and how a prediction is stored.

Every function takes a sample in any of the forms it has on its way: the ``results`` dict of a transform, a
``SegDataSample`` (models), or ``SegDataSample.to_dict()`` (metrics).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from .prompts import Prompts

#: MMSegmentation's label of pixels that are ignored.
IGNORE_LABEL = 255

#: Logit of classes that no prompt asks for, and of pixels that no tile reaches: a probability of 2e-9.
OUTSIDE = -20.0


class MaskInstances(Protocol):
    """The predictions for P prompts: an ``InstanceData`` with the fields of :func:`write_prediction`."""

    mask_logits: Tensor
    iou_scores: Tensor
    low_res_logits: Tensor
    target_ids: Tensor
    draw_ids: Tensor
    mode_ids: Tensor
    class_ids: Tensor
    presence: Tensor

    def __len__(self) -> int: ...
    def __contains__(self, field: str) -> bool: ...

    def cpu(self) -> MaskInstances:
        """Return a copy on the CPU."""
        ...


#: A data sample in one of its forms.
Sample = Mapping[str, Any] | SegDataSample


def sample_name(sample: Sample) -> str:
    """Return the name of a sample in error messages: its file if it has one, else its `sample_id`."""
    return str(sample.get('img_path') or sample.get('sample_id') or 'sample without a name')


def sample_key(sample: Sample) -> str:
    """Return what identifies a sample on every machine: its `sample_id`, or the last two parts of its path.

    The random numbers of evaluation prompts are seeded by it, so it must never change.
    """
    if sample.get('sample_id'):
        return str(sample.get('sample_id'))
    return '/'.join(str(sample.get('img_path', '')).replace('\\', '/').split('/')[-2:])


def sample_labels(sample: Sample) -> tuple[str, str]:
    """Return the dataset and the defect class of a sample, by which results are broken down."""
    return str(sample.get('dataset_name') or 'dataset'), str(sample.get('defect_class') or 'defect')


def target_field(sample: Sample) -> str | None:
    """Return the field that holds the target masks of a sample; None for a sample without ground truth."""
    return next((field for field in ('gt_masks', 'gt_sem_seg') if field in sample), None)


def target_masks(sample: Sample, check_values: bool = False, num_classes: int = 1) -> Tensor:
    """Return the target masks of a sample: `gt_masks`, or else the classes (labels 1, 2, ...) of `gt_sem_seg`.

    Args:
        sample: A sample with ground truth.
        check_values: Check that only valid labels occur. This waits for a GPU.
        num_classes: K, number of classes without the background. With `gt_sem_seg`, T is K.

    Returns:
        (T, H, W) bool; False where pixels are ignored.

    Raises:
        ValueError: The sample has no ground truth, it is not (T, H, W), or `check_values` finds a label other than 0
            and 1 (0 to K and 255 in `gt_sem_seg`).
    """
    field = target_field(sample)
    if field is None:
        raise ValueError(
            f'{sample_name(sample)}: no ground truth, expected `gt_masks` or `gt_sem_seg`; add LoadAnnotations (or '
            'LoadBinaryMask) to the pipeline'
        )
    masks = pixel_data(sample, field)
    if masks.ndim != 3:
        raise ValueError(f'{sample_name(sample)}: field `{field}` has shape {tuple(masks.shape)}, expected (T, H, W)')
    if check_values:
        bad = (masks != 0) & (masks != 1)
        if field == 'gt_sem_seg':
            bad = ((masks < 0) | (masks > num_classes)) & (masks != IGNORE_LABEL)
        if bad.any():
            expected = 'only 0 and 1'
            if field == 'gt_sem_seg' and num_classes > 1:
                expected = f'0 (background), 1 to {num_classes} (classes) and {IGNORE_LABEL} (ignored)'
            elif field == 'gt_sem_seg':
                expected = (
                    f'only 0 (background), 1 (foreground) and {IGNORE_LABEL} (ignored); to use other classes as the '
                    'foreground, load the masks with LoadBinaryMask(foreground=[...]), '
                    'and to keep them apart, set num_classes of the model'
                )
            raise ValueError(
                f'{sample_name(sample)}: field `{field}` holds the labels {masks.unique().tolist()}, '
                f'expected {expected}'
            )
    if field == 'gt_sem_seg' and num_classes > 1:
        return masks == torch.arange(1, num_classes + 1, device=masks.device)[:, None, None]
    return masks == 1


def check_num_classes(owner: str, num_classes: int | None) -> int | None:
    """Return the number of classes without the background, None for one class.

    Raises:
        ValueError: It is below 1, or leaves no label for ignored pixels; the error names `owner`.
    """
    if num_classes is not None and not 1 <= num_classes < IGNORE_LABEL:
        raise ValueError(f'{owner}: num_classes={num_classes}, expected 1 to {IGNORE_LABEL - 1}, or None')
    return num_classes


def predicted_classes(sample: Sample) -> int:
    """Return the number of classes, without the background, that the prediction of a sample tells apart; at least 1."""
    if 'seg_logits' not in sample or 'pred_instances' not in sample:
        return 1
    return max(1, len(pixel_data(sample, 'seg_logits')) - 1)


def ignored_mask(sample: Sample) -> Tensor | None:
    """Return (1, H, W) bool, True for ignored pixels (255 in `gt_sem_seg`); None for a sample without `gt_sem_seg`."""
    return pixel_data(sample, 'gt_sem_seg') == IGNORE_LABEL if 'gt_sem_seg' in sample else None


def ignored_pixels(sample: Sample, like: Tensor) -> Tensor | None:
    """Return the ignored pixels of a sample at the size and on the device of another tensor.

    Args:
        sample: Any sample.
        like: (..., H, W). If `gt_sem_seg` has another size (in evaluation only `gt_masks` keeps the original one), it
            is resized to H x W.

    Returns:
        (H, W) bool, or None if no pixel is ignored.
    """
    ignored = ignored_mask(sample)
    if ignored is None or not ignored.any():
        return None
    if ignored.shape[-2:] != like.shape[-2:]:
        ignored = F.interpolate(ignored[None].float(), like.shape[-2:], mode='nearest')[0] > 0
    return ignored[0].to(like.device)


def write_prediction(
    sample: SegDataSample, mask_logits: Tensor, iou_scores: Tensor, num_classes: int | None = None, **fields: Tensor
) -> None:
    """Store the predicted masks of P prompts in a sample, in place.

    Sets `pred_instances` (mask_logits, iou_scores and `fields`) and MMSegmentation's `seg_logits` and `pred_sem_seg`.
    With one class, these are the union over prompts and where it is above 0, each (1, H, W). With K classes,
    `seg_logits` (K + 1, H, W) are 0 for the background and the union over the prompts of each class, and `pred_sem_seg`
    (1, H, W) is the label with the highest logit.

    Args:
        sample: The sample to change.
        mask_logits: (P, H, W) at the original size of the image, foreground > 0.
        iou_scores: (P,) estimated IoU.
        num_classes: K; None for one class.
        fields: Further values of each prompt, (P, ...): `target_ids`, `draw_ids`, `mode_ids`, `class_ids`.

    Raises:
        ValueError: With `num_classes`, a prompt has no class; the error names the sample.
    """
    sample.pred_instances = InstanceData(metainfo=None, mask_logits=mask_logits, iou_scores=iou_scores, **fields)
    if num_classes is not None:
        logits = class_logits(mask_logits, fields['class_ids'], num_classes, sample_name(sample))
        sample.seg_logits = PixelData(data=logits)
        sample.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
        return
    union = mask_logits.amax(0, keepdim=True)
    sample.seg_logits = PixelData(data=union)
    sample.pred_sem_seg = PixelData(data=(union > 0).long())


def class_logits(mask_logits: Tensor, class_ids: Tensor, num_classes: int, name: str) -> Tensor:
    """Return the logits of background and classes: for each class the union over its prompts.

    Args:
        mask_logits: (P, H, W), foreground > 0.
        class_ids: (P,) labels from 1 to K.
        num_classes: K.
        name: Name of the sample in error messages.

    Returns:
        (K + 1, H, W), row 0 the background, which is 0.

    Raises:
        ValueError: A prompt has no class.
    """
    labels = class_ids.tolist()
    if num_classes == 1:
        labels = [1] * len(labels)
    if 0 in labels:
        raise ValueError(
            f'{name}: field `class_ids` of prompt {labels.index(0)} is 0 (not given), expected a label from 1 to '
            f'{num_classes} in a model with {num_classes} classes; set num_classes in GeneratePrompts, or give '
            'class_ids with the prompts'
        )
    logits = mask_logits.new_full((num_classes + 1, *mask_logits.shape[1:]), OUTSIDE)
    logits[0] = 0
    for row, label in enumerate(labels):
        torch.maximum(logits[label], mask_logits[row], out=logits[label])
    return logits


def pixel_data(sample: Sample, field: str) -> Tensor:
    """Return the tensor (C, H, W) of a field with one value per pixel, such as `gt_masks`."""
    value: Any = sample.get(field)
    return value['data'] if isinstance(value, Mapping) else value.data


def sample_prompts(sample: SegDataSample) -> Prompts:
    """Return the prompts of a sample."""
    return sample.prompts  # pyright: ignore[reportAttributeAccessIssue] (a sample has the fields that are set)


def predictions(sample: SegDataSample) -> MaskInstances:
    """Return what :func:`write_prediction` stored for the prompts of a sample."""
    return sample.pred_instances  # pyright: ignore[reportAttributeAccessIssue] (as above)
