# SAM's own training at small scale, on procedural objects: how mmsam_ext/assets/sam_tiny.safetensors was made.
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/synthetic_objects_256.py',
    '_base_/runtime/default.py',
]

model = dict(
    type='InteractiveSegmentor',
    rounds=2,
    corrected=0.5,
    losses=dict(
        _delete_=True,
        focal=dict(type='MaskFocalLoss'),
        dice=dict(type='MaskDiceLoss'),
        iou=dict(type='IoUPredictionLoss'),
    ),
    train_cfg=dict(multimask='both', compute_dtype='bfloat16'),
    test_cfg=dict(multimask='ambiguous'),
    backbone=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)),
)

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100)]
custom_hooks = [
    dict(type='InvalidLossHook'),
    dict(type='RandomStateHook'),  # the model draws points of correction
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=100000, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
