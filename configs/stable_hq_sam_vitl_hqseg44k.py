# HQ-SAM + Stable-SAM (0.08 M parameters; Table 7): deformable sampling and routing in HQ-SAM's frozen decoder.
# tools/dist_train.sh configs/stable_hq_sam_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/hq_sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_1_epoch.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_hq_vit_l.pth'),
    mask_decoder=dict(
        hq_only=False, plugins=[dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter'))]
    ),
    trainable=[r'^mask_decoder\.plugins\.'],
)
