# The mini SAM, frozen, with PLM before its decoder, and PMM in training. SAM's own losses: 20 focal, 1 dice, 1 IoU.
_base_ = './sam_tiny.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    prompt_stages=[dict(type='PromptLearningModule', dim=128, mlp_dim=1024)],
    auxiliary_heads=[dict(type='PointMatchingModule', in_channels=16)],
    losses=dict(
        _delete_=True,
        focal=dict(type='MaskFocalLoss', loss_weight=20.0),
        dice=dict(type='MaskDiceLoss'),
        iou=dict(type='IoUPredictionLoss'),
    ),
    trainable=[r'^prompt_stages\.', r'^auxiliary_heads\.'],
)
