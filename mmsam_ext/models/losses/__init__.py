from .best_mask import best_mask_losses, losses_of_masks, without_ignored
from .mask_losses import IoUPredictionLoss, MaskBCELoss, MaskDiceLoss, MaskFocalLoss, MaskLoss
from .point_sampled_loss import PointSampledLoss

__all__ = [
    'IoUPredictionLoss',
    'MaskBCELoss',
    'MaskDiceLoss',
    'MaskFocalLoss',
    'MaskLoss',
    'PointSampledLoss',
    'best_mask_losses',
    'losses_of_masks',
    'without_ignored',
]
