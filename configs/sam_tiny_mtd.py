# Mini SAM tuned on magnetic-tile defects (data/mtd): all but the prompt encoder and the IoU head.
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/mtd_384.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/default.py',
]
model = dict(
    data_preprocessor=dict(size=(384, 384)),
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    # Without mask prompts and an IoU loss, those two receive no gradient, which is an error in distributed training.
    trainable=[r'^backbone\.', r'^mask_decoder\.(?!iou)'],
)
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50 / 800),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=50 / 800, end=1.0),
]
train_cfg = dict(max_iters=800, val_interval=200)
