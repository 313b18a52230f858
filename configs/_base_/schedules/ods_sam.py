# ODS-SAM: Adam, 1e-3, weight decay 1e-5, 200 epochs in batches of 16 (two images on each of 8 GPUs; the paper uses
# 10). In steps: 200 * images / 16, here of MVTec AD's 1,006. On one GPU, in the paper's batches: --cfg-options
# train_dataloader.batch_size=10 train_cfg.max_iters=20120 (200 * images / 10) train_cfg.val_interval=2012
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-5),
)
param_scheduler = []  # the paper names an initial rate but no schedule
train_cfg = dict(type='IterBasedTrainLoop', max_iters=12575, val_interval=2515)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
