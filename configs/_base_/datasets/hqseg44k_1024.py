# HQSeg-44K and its four test sets (data/hqseg44k), robust training (RTS); to train on good prompts alone, set
# `train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))`.
_base_ = ['../prompts/train_quality.py', '../prompts/prompt_quality.py']
resize = dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow')
load = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]
clean_pipeline = [
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.clean_modes}}, num_prompts=2),
    dict(type='PackPromptInputs'),
]
robust_pipeline = [
    dict(type='SynthesizeOcclusion'),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.robust_modes}}, num_prompts=2),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['noisy box']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    *load,
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0),
    dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.5, 0.6), modes=['box IoU 0.5-0.6'], seed=0),
    dict(type='PerturbPrompts', box_iou=(0.6, 0.7), modes=['box IoU 0.6-0.7'], seed=0),
    resize,
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=4,  # of each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='PromptMixDataset', dataset=dict(type='HQSeg44KDataset', pipeline=load), pipeline=robust_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='HQSeg44KDataset', split='test', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', stability=True)
