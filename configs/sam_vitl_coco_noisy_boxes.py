# Zero-shot SAM ViT-L on COCO with noisy boxes: tools/test.py configs/sam_vitl_coco_noisy_boxes.py CKPT
# Another model: its base in place of the first line below.
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/coco_noisy_boxes_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
