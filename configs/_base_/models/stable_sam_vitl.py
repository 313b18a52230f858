# Stable-SAM on SAM ViT-L: deformable sampling and dynamic routing in the decoder, all else frozen.
_base_ = './sam_vitl.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    mask_decoder=dict(plugins=[dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter'))]),
    trainable=[r'^mask_decoder\.plugins\.'],
)
