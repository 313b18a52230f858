# Twelve epochs, as the paper trains all other methods; the rate drops after the tenth (HQ-SAM's schedule).
_base_ = './hqseg44k_1_epoch.py'
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[10 / 12], gamma=0.1)]
train_cfg = dict(max_iters=16620, val_interval=16620)
