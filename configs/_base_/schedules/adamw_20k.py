# 20,000 steps at full size (the PLM paper names no schedule).
_base_ = './adamw_600.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500 / 20000),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=500 / 20000, end=1.0),
]
train_cfg = dict(max_iters=20000, val_interval=5000)
