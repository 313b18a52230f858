# Your own defects: data/industrial/images and data/industrial/masks, matched by name, resized to 1024 x 1024 as in SPT.
_base_ = ['../prompts/train_mix.py', '../prompts/spt_protocol.py']
dataset_type = 'BinaryDefectDataset'
data_root = 'data/industrial'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, test_mode=True, pipeline=test_pipeline),
)
test_evaluator = dict(type='PromptIoUMetric', mode_groups={{_base_.mode_groups}})
