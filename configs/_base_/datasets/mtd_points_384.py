# Magnetic-tile defects (data/mtd); each defect is prompted by a point or a box.
_base_ = ['../prompts/plm.py']
load = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
resize = dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow')
train_pipeline = [
    *load,
    resize,
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4, min_area=20),
    dict(type='PackPromptInputs'),
]
val_prompts = dict(type='GeneratePrompts', modes={{_base_.val_modes}}, seed=0, min_area=20)
test_prompts = dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, min_area=20)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='MTDDataset', ann_file='train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MTDDataset',
        ann_file='val.txt',
        test_mode=True,
        pipeline=[*load, val_prompts, resize, dict(type='PackPromptInputs')],
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='MTDDataset',
        ann_file='val.txt',
        test_mode=True,
        pipeline=[*load, test_prompts, resize, dict(type='PackPromptInputs')],
    ),
)
val_evaluator = test_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
