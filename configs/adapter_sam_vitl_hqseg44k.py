# SAM with adapters behind all attentions and MLPs, 12 epochs with good prompts alone.
# tools/dist_train.sh configs/adapter_sam_vitl_hqseg44k.py 8
_base_ = './adapter_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
