# Zero-shot SAM ViT-B on MVTec AD by clicks: tools/test.py configs/sam_vitb_mvtec_clicks.py CKPT
_base_ = [
    '_base_/models/sam_vitb.py',
    '_base_/datasets/mvtec_clicks_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
