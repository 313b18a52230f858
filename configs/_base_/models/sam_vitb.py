# SAM ViT-B at 1024 px, as in Meta's sam_vit_b_01ec64.pth.
model = dict(
    type='PromptableSegmentor',
    data_preprocessor=dict(type='PromptDataPreprocessor', size=(1024, 1024)),
    backbone=dict(type='SAMImageEncoder', arch='base'),
    prompt_encoder=dict(type='SAMPromptEncoder'),
    mask_decoder=dict(type='SAMMaskDecoder'),
    losses=dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss')),
)
