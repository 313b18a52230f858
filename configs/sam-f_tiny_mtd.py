# SAM-F, the baseline: the mask decoder is fine-tuned, without PLM and PMM.
_base_ = './plm_tiny_mtd.py'
model = dict(prompt_stages=[], auxiliary_heads=[], trainable=[r'^mask_decoder\.'])
