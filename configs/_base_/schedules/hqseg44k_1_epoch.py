# One epoch of HQSeg-44K's 44,320 images in batches of 32 (4 on each of 8 GPUs), as Stable-SAM trains.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-3),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50 / 1385)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1385, val_interval=1385)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
