# Zero-shot SAM ViT-L on SBD (data/sbd) by clicks: tools/test.py configs/sam_vitl_sbd_clicks.py CKPT
# Another model: its base in place of the first line below.
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/sbd_clicks_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
