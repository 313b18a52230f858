# Stable-SAM on the mini SAM, on procedural defects.
# tools/train.py configs/stable_sam_tiny_synthetic.py
_base_ = [
    '_base_/models/stable_sam_tiny.py',
    '_base_/datasets/synthetic_defects_robust_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(val_interval=600)
