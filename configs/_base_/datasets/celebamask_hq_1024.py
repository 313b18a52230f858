# Parts of faces (data/CelebAMask-HQ), 1024 x 1024 as published. No flips: left and right are different parts.
_base_ = ['../prompts/plm.py']
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadFaceParts'),
    dict(type='PhotoMetricDistortion'),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=8, min_area=100),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadFaceParts'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, min_area=100),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='CelebAMaskHQDataset', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CelebAMaskHQDataset', split='val', indices=200, test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CelebAMaskHQDataset', split='test', test_mode=True, pipeline=test_pipeline),
)
val_evaluator = test_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
