# LoRA for a TinyViT: its qkv holds queries, keys and values of each head side by side, so the layer is adapted whole.
_base_ = './lora.py'
peft = dict(encoder=dict(num_slices=1, slices=None))
