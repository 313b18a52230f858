# COCO val2017 (data/coco) with true boxes, moved until their IoU with themselves lies in a range (Stable-SAM, Table 3).
# One draw of each range; with `draws=20` in LoadPrompts the AP is the mean over 20.
low = 'box IoU 0.5-0.6'
high = 'box IoU 0.6-0.7'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPrompts', modes=[low, high]),
    dict(type='PerturbPrompts', box_iou=(0.5, 0.6), modes=[low], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.6, 0.7), modes=[high], seed=0),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoPromptDataset',
        data_root='data/coco',
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img_path='val2017'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(type='CocoMaskAP')
test_cfg = dict(type='TestLoop')
