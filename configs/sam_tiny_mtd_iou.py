# sam_tiny_mtd.py with the IoU head trained, too: the scores of inference then say how good a mask is.
_base_ = './sam_tiny_mtd.py'
model = dict(
    losses=dict(iou=dict(type='IoUPredictionLoss')),  # SAM's squared error
    trainable=[r'^backbone\.', r'^mask_decoder\.'],
)
