# SPT on the mini SAM on MTD by clicks: tools/test.py configs/spt_tiny_mtd_clicks.py CKPT, where CKPT is what
# spt_tiny_mtd.py trains.
_base_ = [
    '_base_/models/spt_tiny.py',
    '_base_/datasets/mtd_clicks_384.py',
    '_base_/peft/lora_tiny.py',
    '_base_/runtime/default.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)), peft={{_base_.peft}}, trainable={{_base_.trainable}})
