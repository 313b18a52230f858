# Magnetic-tile defects (data/mtd), trained and tested with prompts of all qualities.
_base_ = ['../prompts/train_quality.py', '../prompts/prompt_quality.py']
load = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
resize = dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow')
clean_pipeline = [
    resize,
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='GeneratePrompts', modes={{_base_.clean_modes}}, num_prompts=4),
    dict(type='PackPromptInputs'),
]
robust_pipeline = [
    dict(type='SynthesizeOcclusion'),
    resize,
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='GeneratePrompts', modes={{_base_.robust_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['noisy box']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    *load,
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, replace=True),  # a mask of MTD has one pixel
    dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.5, 0.6), modes=['box IoU 0.5-0.6'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.6, 0.7), modes=['box IoU 0.6-0.7'], seed=0),
    resize,
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PromptMixDataset',
        dataset=dict(type='MTDDataset', ann_file='train.txt', pipeline=load),
        pipeline=robust_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MTDDataset', ann_file='val.txt', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', stability=True)
