# ODS-SAM on SAM ViT-H: polyps, PraNet's collection; 200 epochs of 1,450 images in batches of 16.
_base_ = [
    '_base_/models/ods_sam_vith.py',
    '_base_/datasets/polyp_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
train_cfg = dict(max_iters=18125, val_interval=3625)
