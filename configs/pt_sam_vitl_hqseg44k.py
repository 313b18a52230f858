# PT-SAM: only SAM's mask tokens are trained (1,024 parameters), 12 epochs with good prompts alone.
# tools/dist_train.sh configs/pt_sam_vitl_hqseg44k.py 8
_base_ = './pt_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
