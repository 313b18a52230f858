# MTD (data/mtd) by clicks, the whole foreground of an image as one object.
_base_ = './clicks_1024.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none', targets='whole')), seed=0),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(
    dataset=dict(type='MTDDataset', data_root='data/mtd', ann_file='val.txt', pipeline=test_pipeline)
)
