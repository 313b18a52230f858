# FT-SAM: trains all of SAM except what only mask prompts or an IoU loss would train; robust training, 12 epochs.
# tools/dist_train.sh configs/ft_sam_rts_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_12_epochs.py',
    '_base_/runtime/default.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    trainable=[
        r'^backbone\.',
        r'^prompt_encoder\.(point_embeddings|not_a_point|no_mask)',
        r'^mask_decoder\.(?!iou_prediction_head)',
    ],
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4)
)  # the paper does not name it; at 1e-3, training all of SAM easily diverges
