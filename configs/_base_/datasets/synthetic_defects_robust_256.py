# Procedural defects, trained and tested with prompts of all qualities.
_base_ = ['../prompts/train_quality.py', '../prompts/prompt_quality.py']
clean_pipeline = [
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='GeneratePrompts', modes={{_base_.clean_modes}}, num_prompts=4),
    dict(type='PackPromptInputs'),
]
robust_pipeline = [
    dict(type='SynthesizeOcclusion'),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='GeneratePrompts', modes={{_base_.robust_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['noisy box']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.5, 0.6), modes=['box IoU 0.5-0.6'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.6, 0.7), modes=['box IoU 0.6-0.7'], seed=0),
    dict(type='Resize', scale=(256, 256), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PromptMixDataset',
        dataset=dict(type='SyntheticDefectDataset', length=2000, seed=10),
        pipeline=robust_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SyntheticDefectDataset', length=20, seed=11, test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SyntheticDefectDataset', length=200, seed=12, test_mode=True, pipeline=test_pipeline),
)
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', stability=True)
