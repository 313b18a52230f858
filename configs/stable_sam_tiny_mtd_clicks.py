# Stable-SAM on the mini SAM on MTD by clicks: tools/test.py configs/stable_sam_tiny_mtd_clicks.py CKPT, where CKPT is
# what stable_sam_tiny_mtd.py trains.
_base_ = [
    '_base_/models/stable_sam_tiny.py',
    '_base_/datasets/mtd_clicks_384.py',
    '_base_/runtime/default.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)))
