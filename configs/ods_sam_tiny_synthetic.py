# ODS-SAM on the mini SAM: procedural defects without any prompt, no files.
_base_ = [
    '_base_/models/ods_sam_tiny.py',
    '_base_/datasets/synthetic_unprompted_256.py',
    '_base_/schedules/ods_sam_tiny.py',
    '_base_/runtime/ods_sam.py',
]
train_cfg = dict(max_iters=1000, val_interval=500)
