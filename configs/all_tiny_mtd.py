# Everything together: LoRA in the encoder, a self-draft decoder with VRA and Stable-SAM's plugins, PLM, PMM (data/mtd).
# tools/train.py configs/all_tiny_mtd.py
_base_ = './plm_tiny_mtd.py'
plugins = [
    dict(type='DeformableSamplingPlugin', dim=128, router=dict(type='DynamicRouter', dim=128)),
    dict(type='VRAAdapter', dim=128, blocks=(0, 1), alpha=0.0),
]
model = dict(
    mask_decoder=dict(
        _delete_=True,
        type='SelfDraftDecoder',
        num_drafts=1,
        decoder=dict(type='SAMMaskDecoder', transformer_dim=128, stage_channels=(48, 96), plugins=plugins),
    ),
    peft=dict(
        encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', rank=8, num_slices=3, slices=(0, 2)),
        decoders=dict(type='LoRA', modules=r'^mask_decoder\..*\.(q|v)_proj$', rank=8),
    ),
    trainable=[r'^prompt_stages\.', r'^auxiliary_heads\.', r'\.lora_[ab]$', r'^mask_decoder\..*\.plugins\.'],
)
