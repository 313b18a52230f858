# 1500 steps for a small module on a frozen model.
_base_ = './adamw_600.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50 / 1500),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=50 / 1500, end=1.0),
]
train_cfg = dict(max_iters=1500, val_interval=500)
