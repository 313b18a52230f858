# PT-SAM: only SAM's mask tokens are trained (1,024 parameters), 12 epochs with robust training.
# tools/dist_train.sh configs/pt_sam_rts_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_12_epochs.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    # To train the MLP that turns the token into a mask, too: r'^mask_decoder\.output_hypernetworks_mlps\.0'
    trainable=[r'^mask_decoder\.mask_tokens'],
)
