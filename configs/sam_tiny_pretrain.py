# SAM's own training at small scale, on procedural objects: how mmsam_ext/assets/sam_tiny.safetensors was made.
_base_ = ['_base_/models/sam_tiny.py', '_base_/runtime/default.py']

model = dict(
    type='InteractiveSegmentor',
    rounds=2,
    losses=dict(
        _delete_=True,
        focal=dict(type='MaskFocalLoss'),
        dice=dict(type='MaskDiceLoss'),
        iou=dict(type='IoUPredictionLoss'),
    ),
    train_cfg=dict(multimask='both'),
    test_cfg=dict(multimask='ambiguous'),
    backbone=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)),
)

modes = {
    'box': dict(kind='box', targets='parts', weight=3),
    '1 point': dict(kind='points', targets='parts', weight=3),
    '5 points': dict(kind='points', targets='parts', num_points=5, weight=2),
}
train_dataloader = dict(
    batch_size=4,  # of two processes
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=4_000_000,
        seed=1,
        min_area=144,
        pipeline=[
            dict(type='GeneratePrompts', modes=modes, num_prompts=8),
            dict(type='PerturbPrompts', box_noise=0.1, modes=['box']),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=64,
        seed=2,
        min_area=144,
        test_mode=True,
        pipeline=[
            dict(type='GeneratePrompts', modes=modes, seed=0),
            dict(type='PackPromptInputs'),
        ],
    ),
)
# The figures of the model card: 500 objects, one an image, of a seed that is used nowhere else.
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=500,
        seed=3,
        min_area=144,
        max_targets=1,
        test_mode=True,
        pipeline=[
            dict(type='GeneratePrompts', modes={**modes, 'box noise 0.4': dict(kind='box', targets='parts')}, seed=0),
            dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', boundary=False)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=150)]
custom_hooks = [
    dict(type='InvalidLossHook'),
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.002),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=100_000, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
