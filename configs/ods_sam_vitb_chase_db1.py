# ODS-SAM on a dataset that MMSegmentation ships, with its own pipeline and metric: 200 epochs of 20 images of retinas.
_base_ = [
    '_base_/models/ods_sam_vitb.py',
    '_base_/datasets/chase_db1_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
train_cfg = dict(max_iters=1000, val_interval=100)
