# As mtd_384.py, with large-scale jitter in training and prompts drawn from the resized mask in evaluation.
_base_ = './mtd_384.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='RandomResize', scale=(384, 384), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384)),  # what is smaller is padded by the preprocessor
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.2, modes=['noisy box']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, replace=True, draw_size=(384, 384)),
    dict(type='Resize', scale=(384, 384), keep_ratio=False),  # by OpenCV, without antialiasing
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
