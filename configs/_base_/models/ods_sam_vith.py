# ODS-SAM: SAM is frozen; SSMODC reads the image and creates the prompt.
# EfficientViT-L2 at 384 x 384 is chosen to be near the paper's 53.687 M learnable parameters and 53.902 GFLOPs.
# Its ImageNet weights: --cfg-options model.prompt_stages.0.feature_encoder.pretrained=True (timm downloads them).
_base_ = './sam_vith.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_h_4b8939.pth'),
    prompt_stages=[
        dict(
            type='SSMODCPromptHead',
            feature_encoder=dict(
                type='mmpretrain.TIMMBackbone',
                model_name='efficientvit_l2',
                features_only=True,
                out_indices=(1, 2, 3),
                pretrained=False,
            ),
            in_channels=(128, 256, 512),
            input_size=(384, 384),
        )
    ],
    losses=dict(bce=dict(type='MaskBCELoss', loss_weight=0.5), dice=dict(type='MaskDiceLoss', loss_weight=0.5)),
    trainable=[r'^prompt_stages\.'],
)
