# SAM ViT-B, frozen, with PLM before its decoder, and PMM in training. SAM's own losses: 20 focal, 1 dice, 1 IoU.
_base_ = './sam_vitb.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_b_01ec64.pth'),
    prompt_stages=[dict(type='PromptLearningModule')],
    auxiliary_heads=[dict(type='PointMatchingModule')],
    losses=dict(
        _delete_=True,
        focal=dict(type='MaskFocalLoss', loss_weight=20.0),
        dice=dict(type='MaskDiceLoss'),
        iou=dict(type='IoUPredictionLoss'),
    ),
    trainable=[r'^prompt_stages\.', r'^auxiliary_heads\.'],
)
