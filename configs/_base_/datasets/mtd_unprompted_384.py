# Magnetic-tile defects (data/mtd) without prompts, at 384 x 384.
_base_ = './unprompted_1024.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='LoadBinaryMask'),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=8, num_workers=1, dataset=dict(type='MTDDataset', ann_file='train.txt', pipeline=train_pipeline)
)
val_dataloader = test_dataloader = dict(
    batch_size=4, num_workers=1, dataset=dict(type='MTDDataset', ann_file='val.txt', pipeline=test_pipeline)
)
val_evaluator = test_evaluator = [dict(type='EMeasure'), dict(type='MAE'), dict(type='DiceIoU')]
