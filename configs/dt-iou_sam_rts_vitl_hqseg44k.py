# DT-SAM with the IoU head: all of SAM's mask decoder is trained (4,058,340 parameters), 12 epochs with robust training.
# tools/dist_train.sh configs/dt-iou_sam_rts_vitl_hqseg44k.py 8
_base_ = './dt_sam_rts_vitl_hqseg44k.py'
model = dict(
    losses=dict(iou=dict(type='IoUPredictionLoss')),
    trainable=[r'^mask_decoder\.'],
)
