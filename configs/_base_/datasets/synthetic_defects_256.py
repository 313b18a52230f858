# Procedural defects: no files. Different seeds are different images.
_base_ = ['../prompts/train_mix.py', '../prompts/robustness.py']
dataset_type = 'SyntheticDefectDataset'
train_pipeline = [
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.1, modes=['box', 'boxes']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),  # skipped for procedural images; MMSegInferencer needs it
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
    dict(type='Resize', scale=(256, 256), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, length=2000, seed=10, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, length=60, seed=11, test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, length=200, seed=12, test_mode=True, pipeline=test_pipeline),
)
val_evaluator = test_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
