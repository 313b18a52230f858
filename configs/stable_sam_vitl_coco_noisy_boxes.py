# Stable-SAM ViT-L on COCO with noisy boxes: tools/test.py configs/stable_sam_vitl_coco_noisy_boxes.py CKPT
_base_ = [
    '_base_/models/stable_sam_vitl.py',
    '_base_/datasets/coco_noisy_boxes_1024.py',
    '_base_/runtime/default.py',
]
