# PLM and PMM on SAM ViT-H: a point gives the part of a face (data/CelebAMask-HQ).
# tools/dist_train.sh configs/plm_vith_celebamask.py 8
_base_ = [
    '_base_/models/plm_vith.py',
    '_base_/datasets/celebamask_hq_1024.py',
    '_base_/schedules/adamw_20k.py',
    '_base_/runtime/trained_part.py',
]
