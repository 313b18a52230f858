# SAM 2.1 Hiera-L for images, as in Meta's sam2.1_hiera_large.pt; other sizes: backbone.arch tiny, small or base_plus.
model = dict(
    type='PromptableSegmentor',
    data_preprocessor=dict(type='PromptDataPreprocessor', size=(1024, 1024)),
    backbone=dict(type='SAM2ImageEncoder', arch='large'),
    prompt_encoder=dict(type='SAM2PromptEncoder'),
    mask_decoder=dict(type='SAM2MaskDecoder'),
    losses=dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss')),
)
