# PLM without PMM.
_base_ = './plm_tiny_parts.py'
model = dict(auxiliary_heads=[], trainable=[r'^prompt_stages\.'])
