from .mask_losses import IoUPredictionLoss, MaskBCELoss, MaskDiceLoss, MaskFocalLoss, MaskLoss

__all__ = ['IoUPredictionLoss', 'MaskBCELoss', 'MaskDiceLoss', 'MaskFocalLoss', 'MaskLoss']
