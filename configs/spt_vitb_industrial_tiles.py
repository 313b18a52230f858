# SPT on tiles of 1024 x 1024 px at full resolution, for large images with defects of a few pixels (data/industrial).
# tools/dist_train.sh configs/spt_vitb_industrial_tiles.py 8
_base_ = './spt_vitb_industrial.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='RandomTile', size=(1024, 1024)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.1, modes=['box', 'boxes']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, replace=True),
    dict(type='PackPromptInputs'),
]
model = dict(
    data_preprocessor=dict(size=None, size_divisor=16),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(768, 768)),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
