# LoRA as in SPT: queries and values of every attention, of the encoder and of each decoder; scale alpha / rank = 1 / 8.
# `tools/train.py CONFIG --cfg-options model.peft.encoder=None` removes it from one part.
peft = dict(
    encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', rank=8, num_slices=3, slices=(0, 2)),
    draft=dict(type='LoRA', modules=r'^mask_decoder\.drafts\..*\.(q|v)_proj$', rank=8),
    refine=dict(type='LoRA', modules=r'^mask_decoder\.refine\..*\.(q|v)_proj$', rank=8),
)
# The VRA-Adapter's beta shares a pattern with LoRA, because a pattern that matches nothing is an error and VRA is
# optional.
trainable = [r'\.(lora_[ab]|beta\.\d+)$']
