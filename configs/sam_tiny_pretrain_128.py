# The first stage of the mini SAM's pretraining, from scratch: images of 128 px, four times as many a second.
_base_ = './sam_tiny_pretrain.py'

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    scene_head=dict(type='SceneHead', in_channels=128),
)
train_dataloader = dict(batch_size=16, dataset=dict(size=(128, 128)))
val_dataloader = dict(dataset=dict(size=(128, 128)))
test_dataloader = dict(dataset=dict(size=(128, 128)))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(val_interval=250)
load_from = None
