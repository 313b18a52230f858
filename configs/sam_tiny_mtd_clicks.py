# The mini SAM on MTD by clicks, zero-shot: tools/test.py configs/sam_tiny_mtd_clicks.py mmsam_ext://sam_tiny
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/mtd_clicks_384.py',
    '_base_/runtime/default.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)), trainable=())
