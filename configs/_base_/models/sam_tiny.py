# The mini SAM: 5.7 M parameters, 256 px, embedding 128.
model = dict(
    type='PromptableSegmentor',
    data_preprocessor=dict(type='PromptDataPreprocessor', size=(256, 256)),
    backbone=dict(type='SAMImageEncoder', arch='tiny', stem_stages=True),
    prompt_encoder=dict(type='SAMPromptEncoder', embed_dim=128),
    mask_decoder=dict(type='SAMMaskDecoder', transformer_dim=128, stage_channels=(48, 96)),
    losses=dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss')),
)
