# SBD (data/sbd) by clicks: each of the 6,671 instances of 2,857 images is an object, those of an image together.
_base_ = './clicks_1024.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadObjectMask'),
    dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none', targets='parts')), seed=0),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(dataset=dict(type='SBDDataset', pipeline=test_pipeline))
