# Zero-shot SAM ViT-L on COCO with a detector's boxes: tools/test.py configs/sam_vitl_coco_detector_boxes.py CKPT
# Boxes: data/coco/detections.json, as any detector writes its results in COCO's format.
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/coco_detector_boxes_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
