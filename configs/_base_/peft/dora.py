# DoRA in the same places as LoRA, with a magnitude for each adapted row.
peft = dict(
    encoder=dict(type='DoRA', modules=r'^backbone\..*\.qkv$', rank=8, num_slices=3, slices=(0, 2)),
    draft=dict(type='DoRA', modules=r'^mask_decoder\.drafts\..*\.(q|v)_proj$', rank=8),
    refine=dict(type='DoRA', modules=r'^mask_decoder\.refine\..*\.(q|v)_proj$', rank=8),
)
trainable = [r'\.(lora_[ab]|magnitude|beta\.\d+)$']
