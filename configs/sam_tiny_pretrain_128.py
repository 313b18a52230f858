# The first stage of the mini SAM's pretraining, from scratch: images of 128 px, which train four times as fast.
_base_ = './sam_tiny_pretrain.py'

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    scene_head=dict(edge_weight=4.0, pixel_weight=1.0, group_weight=1.0),
)
train_dataloader = dict(batch_size=16, dataset=dict(size=(128, 128), seed=1))
val_dataloader = dict(dataset=dict(size=(128, 128)))
test_dataloader = dict(dataset=dict(size=(128, 128)))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100 / 1250)]
train_cfg = dict(max_iters=1250, val_interval=250)
default_hooks = dict(checkpoint=dict(interval=250))
load_from = None
