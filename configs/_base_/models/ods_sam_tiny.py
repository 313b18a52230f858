# ODS-SAM on the mini SAM. The head reads SAM's own maps: a second network that starts from random weights learns more
# slowly (configs/methods/ods_sam.md).
_base_ = './sam_tiny.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    prompt_stages=[dict(type='SSMODCPromptHead', sam_channels=(48, 96, 128), embed_dim=128, dim=64)],
    losses=dict(bce=dict(type='MaskBCELoss', loss_weight=0.5), dice=dict(type='MaskDiceLoss', loss_weight=0.5)),
    trainable=[r'^prompt_stages\.'],
)
