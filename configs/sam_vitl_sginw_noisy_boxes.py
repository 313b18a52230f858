# Zero-shot SAM ViT-L on SGINW's 25 sets with noisy boxes: tools/test.py configs/sam_vitl_sginw_noisy_boxes.py CKPT
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/sginw_noisy_boxes_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
