from .best_mask import best_mask_losses, losses_of_masks
from .mask_losses import IoUPredictionLoss, MaskBCELoss, MaskDiceLoss, MaskFocalLoss, MaskLoss

__all__ = [
    'IoUPredictionLoss',
    'MaskBCELoss',
    'MaskDiceLoss',
    'MaskFocalLoss',
    'MaskLoss',
    'best_mask_losses',
    'losses_of_masks',
]
