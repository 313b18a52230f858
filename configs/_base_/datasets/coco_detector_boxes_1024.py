# COCO val2017 (data/coco) with a detector's boxes from data/coco/detections.json, a COCO result file (Stable-SAM,
# Table 4). Score: the detector's times SAM's predicted IoU; all boxes, the best 100 of an image and category count.
_base_ = './coco_noisy_boxes_1024.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPrompts', result_file='data/coco/detections.json'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(dataset=dict(require_annotations=False, pipeline=test_pipeline))
