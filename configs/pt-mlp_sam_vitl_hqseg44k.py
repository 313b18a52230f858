# PT-SAM of the paper's size: the single-mask token and its hypernetwork MLP are trained (140,064 parameters), 12 epochs
# with good prompts only. tools/dist_train.sh configs/pt-mlp_sam_vitl_hqseg44k.py 8
_base_ = './pt-mlp_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
