# The five defect classes of the magnetic tiles (data/mtd) by prompts: each prompt asks for the defects of one class.
_base_ = './sam_tiny_mtd.py'
num_classes = 5
test_modes = dict(box=dict(kind='box', targets='parts', united=True))  # IoUMetric scores one label map, so one mode
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4, num_classes=num_classes),
    dict(type='PerturbPrompts', box_noise=0.2, modes=['noisy box']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes=test_modes, seed=0, num_classes=num_classes),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
model = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(classes='folders', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(classes='folders', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = [
    dict(type='PromptIoUMetric'),
    dict(type='IoUMetric', prefix='classes'),
    dict(type='LabelMapWriter'),
]
