# Your own objects (banners, plates, ...): data/custom/images and data/custom/masks, matched by name; train.txt and
# val.txt list the names of each split without suffix. Each connected region of a mask is an object.
_base_ = ['../prompts/plm.py']
data_root = 'data/custom'
load = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
resize = dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow')
train_pipeline = [
    *load,
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4, min_area=100),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    *load,
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, min_area=100),
    resize,
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='BinaryDefectDataset', data_root=data_root, ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BinaryDefectDataset', data_root=data_root, ann_file='val.txt', test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
