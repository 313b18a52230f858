# Stable-SAM on the mini SAM.
_base_ = './sam_tiny.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    mask_decoder=dict(
        plugins=[dict(type='DeformableSamplingPlugin', dim=128, router=dict(type='DynamicRouter', dim=128))]
    ),
    trainable=[r'^mask_decoder\.plugins\.'],
)
