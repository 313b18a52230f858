"""What the scores of a model are worth: whether its IoU head was trained with the masks that it judges."""

from __future__ import annotations

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
    judged = any(isinstance(loss, IoUPredictionLoss) for loss in model.losses.values())
    return TRAINED if head and judged else UNTRAINED
