# Stable-SAM (0.08 M parameters) on SAM 2.1 Hiera-L: one epoch of robust training.
# tools/dist_train.sh configs/stable_sam2_hiera_l_hqseg44k.py 8
_base_ = [
    '_base_/models/sam2_hiera_l.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_1_epoch.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam2.1_hiera_large.pt'),
    mask_decoder=dict(plugins=[dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter'))]),
    trainable=[r'^mask_decoder\.plugins\.'],
)
