# The end of the mini SAM's pretraining: from the averaged weights of a checkpoint of sam_tiny_pretrain_scenes.py, with
# a rate that falls to 0. To start from another: --cfg-options model.init_cfg.checkpoint=FILE
_base_ = './sam_tiny_pretrain_scenes.py'

model = dict(init_cfg=dict(checkpoint='work_dirs/sam_tiny_pretrain_scenes/iter_800.pth'))
train_dataloader = dict(dataset=dict(seed=12, shares=dict(plain=0.4, objects=0.2, crowd=0.08, defects=0.2, zones=0.12)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=0.03),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0.03, end=1.0),
]
train_cfg = dict(max_iters=950)
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='RecipeHook')]
