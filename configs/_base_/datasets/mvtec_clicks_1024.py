# MVTec AD (data/mvtec_ad) by clicks, the whole defect of an image as one object.
_base_ = './clicks_1024.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none', targets='whole')), seed=0),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(dataset=dict(type='MVTecADDataset', pipeline=test_pipeline))
