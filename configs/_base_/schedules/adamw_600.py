# 600 steps for a pretrained small model. Begin and end of each piece are shares of max_iters, so changing max_iters
# alone stretches the whole schedule.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50 / 600),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=50 / 600, end=1.0),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600, val_interval=300)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
