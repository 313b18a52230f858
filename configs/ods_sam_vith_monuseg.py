# ODS-SAM on SAM ViT-H: nuclei in tissue (MoNuSeg); 200 epochs of 30 images in batches of 16.
_base_ = [
    '_base_/models/ods_sam_vith.py',
    '_base_/datasets/monuseg_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
train_cfg = dict(max_iters=375, val_interval=75)
