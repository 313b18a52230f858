# Stable-SAM (0.08 M parameters) on SAM ViT-B: one epoch of robust training.
# tools/dist_train.sh configs/stable_sam_vitb_hqseg44k.py 8
_base_ = [
    '_base_/models/stable_sam_vitb.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_1_epoch.py',
    '_base_/runtime/trained_part.py',
]
