# Stable-SAM on the mini SAM, on procedural defects.
# tools/train.py configs/stable_sam_tiny_synthetic.py
_base_ = [
    '_base_/models/stable_sam_tiny.py',
    '_base_/datasets/synthetic_defects_robust_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
# At the full rate, the router turns deformable sampling off before it has learnt anything.
optim_wrapper = dict(optimizer=dict(lr=1e-2), paramwise_cfg=dict(custom_keys={'routers': dict(lr_mult=0.1)}))
train_cfg = dict(val_interval=600)
