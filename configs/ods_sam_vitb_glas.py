# ODS-SAM on SAM ViT-B: glands in tissue (GlaS); 200 epochs of 85 images in batches of 16.
_base_ = [
    '_base_/models/ods_sam_vitb.py',
    '_base_/datasets/glas_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
train_cfg = dict(max_iters=1060, val_interval=106)
