# The sixth stage of the mini SAM's pretraining: from the averaged weights of a checkpoint of sam_tiny_pretrain_384.py,
# with a rate that falls to 0. To start from another: --cfg-options model.init_cfg.checkpoint=FILE
_base_ = './sam_tiny_pretrain_384.py'

model = dict(init_cfg=dict(checkpoint='work_dirs/sam_tiny_pretrain_384/iter_1400.pth'))
train_dataloader = dict(
    dataset=dict(seed=22, shares=dict(plain=0.5, objects=0.16, crowd=0.06, defects=0.15, zones=0.13))
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=0.03),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0.03, end=1.0),
]
train_cfg = dict(max_iters=850)
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='RecipeHook')]
