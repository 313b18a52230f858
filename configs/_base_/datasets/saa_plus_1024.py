# What evaluations of automatic prompts share: no prompts, the original image kept for the box source, maps and masks at
# 400 x 400, scores normalised and averaged by category.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='KeepOriginalImage'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='LoadBinaryMask'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='MVTecADDataset', normal=True, test_mode=True, pipeline=test_pipeline),
)
test_evaluator = dict(type='AnomalyMetric', by='category', size=(400, 400), min_max=True)
test_cfg = dict(type='TestLoop')
