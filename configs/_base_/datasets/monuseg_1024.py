# MoNuSeg: 30 images to train on, 14 to test on, of 1000 x 1000 pixels, with outlines of nuclei in XML files.
_base_ = './unprompted_1024.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CropTile'),
    dict(type='LoadNucleiMask'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='CropTile'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='LoadNucleiMask'),
    dict(type='PackPromptInputs'),
]
# tile=512 cuts every image into overlapping tiles of 512 x 512, on which the metric is then computed.
train_dataloader = dict(dataset=dict(type='MoNuSegDataset', split='train', tile=None, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    dataset=dict(type='MoNuSegDataset', split='test', tile=None, pipeline=test_pipeline)
)
