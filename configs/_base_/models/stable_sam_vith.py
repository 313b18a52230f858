# Stable-SAM on SAM ViT-H: deformable sampling and dynamic routing in the decoder, all else frozen.
_base_ = './sam_vith.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_h_4b8939.pth'),
    mask_decoder=dict(plugins=[dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter'))]),
    trainable=[r'^mask_decoder\.plugins\.'],
)
