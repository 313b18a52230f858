# SAM-F, the baseline whose mask decoder is tuned: no PLM, no PMM.
_base_ = './plm_tiny_mtd.py'
model = dict(prompt_stages=[], auxiliary_heads=[], trainable=[r'^mask_decoder\.'])
