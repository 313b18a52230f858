# What click tests share: images at 1024 px, their longest side as in SAM, each object clicked by its own up to 20
# times. Best of three masks by predicted IoU at the first click only (SAM's paper; 'every' is SegNext's evaluation of
# SAM), the previous mask's logits fed back.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadObjectMask'),
    dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none', targets='whole')), seed=0),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DAVIS345Dataset', test_mode=True, pipeline=test_pipeline),
)
test_evaluator = dict(type='NoCMetric')
test_cfg = dict(type='ClickTestLoop', max_clicks=20, multimask='first', feed_back=True)
