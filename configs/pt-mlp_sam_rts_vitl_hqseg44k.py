# PT-SAM of the paper's size: the single-mask token and its hypernetwork MLP are trained (140,064 parameters), 12 epochs
# with robust training. tools/dist_train.sh configs/pt-mlp_sam_rts_vitl_hqseg44k.py 8
_base_ = './pt_sam_rts_vitl_hqseg44k.py'
model = dict(
    mask_decoder=dict(plugins=[dict(type='MaskTokenPlugin')]),
    trainable=[r'^mask_decoder\.plugins\.', r'^mask_decoder\.output_hypernetworks_mlps\.0\.'],
)
