# DT-SAM: SAM's mask decoder is trained, except its IoU head (3.9 M parameters), 12 epochs with good prompts alone.
# tools/dist_train.sh configs/dt_sam_vitl_hqseg44k.py 8
_base_ = './dt_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
