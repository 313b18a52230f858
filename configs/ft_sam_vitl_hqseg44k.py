# FT-SAM: trains all of SAM except what only mask prompts or an IoU loss would train; good prompts, 12 epochs.
# tools/dist_train.sh configs/ft_sam_vitl_hqseg44k.py 8
_base_ = './ft_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
