# ODS-SAM on the mini SAM: magnetic-tile defects (data/mtd) without any prompt.
_base_ = [
    '_base_/models/ods_sam_tiny.py',
    '_base_/datasets/mtd_unprompted_384.py',
    '_base_/schedules/ods_sam_tiny.py',
    '_base_/runtime/ods_sam.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)))
train_cfg = dict(max_iters=1000, val_interval=250)
