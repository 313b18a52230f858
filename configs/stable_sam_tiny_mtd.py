# Stable-SAM on the mini SAM, on magnetic-tile defects (data/mtd).
# tools/train.py configs/stable_sam_tiny_mtd.py
_base_ = [
    '_base_/models/stable_sam_tiny.py',
    '_base_/datasets/mtd_robust_384.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)))
# At the full rate, the router turns deformable sampling off before it has learnt anything.
optim_wrapper = dict(optimizer=dict(lr=1e-2), paramwise_cfg=dict(custom_keys={'routers': dict(lr_mult=0.1)}))
train_cfg = dict(val_interval=600)
