# Muon for the matrices and AdamW for the rest, with a rate that falls to 0.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50 / 1800),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=50 / 1800, end=1.0),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1800, val_interval=300)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
