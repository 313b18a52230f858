# DT-SAM with the IoU head: all of SAM's mask decoder is trained (4,058,340 parameters), 12 epochs with good prompts
# only. tools/dist_train.sh configs/dt-iou_sam_vitl_hqseg44k.py 8
_base_ = './dt-iou_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
