"""The losses of the parts of a segmentor beside its masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, PromptBatch, SAMFeatures

from ..losses import without_ignored
from .prompt_targets import prompt_targets

if TYPE_CHECKING:
    from .promptable_segmentor import PromptableSegmentor


def losses_of_parts(
    model: PromptableSegmentor,
    features: SAMFeatures,
    batch: PromptBatch,
    prediction: MaskPrediction,
    targets: Tensor,
    ignored: Tensor,
    samples: Sequence[SegDataSample],
) -> dict[str, Tensor]:
    """Compute the losses of the presence head, the mask refiner and the auxiliary heads that a model has.

    Args:
        model: The model.
        features: Embedding (B, C, h, w) and image (B, 3, H, W).
        batch: The P prompts.
        prediction: logits (P, M, 4h, 4w), presence (P,).
        targets: (P, 4h, 4w) in [0, 1].
        ignored: (P, 4h, 4w) bool, pixels without a label; auxiliary heads see a certain background there.
        samples: One data sample per image, with the targets.

    Returns:
        ``loss_presence``, ``loss_refine`` and, prefixed ``aux<i>.``, those of the auxiliary heads.
    """
    losses = {}
    if model.presence_head is not None:
        losses.update(model.presence_head.loss(prediction.presence, targets))
    if model.mask_refiner is not None:
        full = prompt_targets(samples, batch, batch.input_size, model.num_classes or 1)
        losses.update(model.mask_refiner.loss(features, batch.image_index, prediction.logits[:, 0], *full))
    if len(model.auxiliary_heads):
        prediction = replace(prediction, logits=without_ignored(prediction.logits, ignored))
    for index, head in enumerate(model.auxiliary_heads):
        extra = head.loss(features, prediction, targets, batch)
        losses.update({f'aux{index}.{name}': value for name, value in extra.items()})
    return losses
