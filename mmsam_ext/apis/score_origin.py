"""What the scores of a model are worth: whether its IoU head was trained with the masks that it judges."""

from __future__ import annotations

import os

from mmsam_ext.checkpoints.base import file_hash, local_path
from mmsam_ext.checkpoints.loaders import PACKAGED
from mmsam_ext.models.losses import IoUPredictionLoss
from mmsam_ext.models.segmentors import PromptableSegmentor

#: Values of the column `score_from`.
PRETRAINED, TRAINED, UNTRAINED = 'pretrained IoU head', 'IoU head trained with the masks', 'IoU head not trained'
ADVICE = (
    'The scores come from an IoU head that was not trained with this model, so they say little about its masks. To '
    'train it, add the loss IoUPredictionLoss and the parameters of the head, as configs/sam_tiny_mtd_iou.py does'
)


def score_origin(model: PromptableSegmentor, adapted: bool = True) -> str:
    """Return where the scores of a model come from, as its config says what was trained.

    Args:
        model: The model with its weights.
        adapted: Whether the weights come from a training with this config; False for those that training starts from.

    Returns:
        `PRETRAINED` if nothing was trained; otherwise `TRAINED` if the IoU head was, by a loss on its
        output, else `UNTRAINED`.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not (trained and adapted):
        return PRETRAINED
    head = any('iou_prediction_head' in name for name in trained)
    judged = any(isinstance(loss, IoUPredictionLoss) and loss.loss_weight for loss in model.losses.values())
    return TRAINED if head and judged else UNTRAINED


def same_weights(weights: str | os.PathLike, base: str | None) -> bool:
    """Return whether a checkpoint is the one that training starts from, also as a copy or by another path to it."""
    first, second = str(weights), str(base)
    if base is None or first == second:
        return first == second
    if any('://' in name and not name.startswith(PACKAGED) for name in (first, second)):
        return False  # not downloaded for this
    first, second = local_path(first), local_path(second)
    if not (os.path.isfile(first) and os.path.isfile(second)):
        return False
    return os.path.getsize(first) == os.path.getsize(second) and file_hash(first) == file_hash(second)
