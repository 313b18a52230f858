# As industrial_benchmarks_1024.py, with what the code of SPT's authors imports for training, large-scale jitter, and
# with prompts drawn from the mask resized to 1024 x 1024 in evaluation.
_base_ = './industrial_benchmarks_1024.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024)),  # what is smaller is padded by the preprocessor
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.1, modes=['box', 'boxes']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, replace=True, draw_size=(1024, 1024)),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False),  # by OpenCV, without antialiasing
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
