# ODS-SAM on the mini SAM, with a feature encoder that trains from scratch on a CPU.
_base_ = './sam_tiny.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    prompt_stages=[
        dict(
            type='SSMODCPromptHead',
            feature_encoder=dict(
                type='mmpretrain.TIMMBackbone',
                model_name='efficientvit_b0',
                features_only=True,
                out_indices=(1, 2, 3),
                pretrained=False,
            ),
            in_channels=(32, 64, 128),
            embed_dim=128,
            dim=64,
        )
    ],
    losses=dict(bce=dict(type='MaskBCELoss', loss_weight=0.5), dice=dict(type='MaskDiceLoss', loss_weight=0.5)),
    trainable=[r'^prompt_stages\.'],
)
