# SPT's schedule in steps: 16 epochs of 15,000 images in batches of 8 (an image on each of 8 GPUs), the rate drops after
# the tenth (a milestone is a share of max_iters). For N images of your own: max_iters = 2 N.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-3),
)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[10 / 16], gamma=0.1)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=30000, val_interval=30000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
