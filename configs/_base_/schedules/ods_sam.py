# ODS-SAM: Adam, 1e-3, weight decay 1e-5, batch 10, 200 epochs. In steps: 200 * images / 10, here of MVTec AD's 1,006.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-5),
)
param_scheduler = []  # the paper names an initial rate and no schedule
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
