# ODS-SAM on SAM ViT-B: MVTec AD's defects without any prompt. tools/dist_train.sh configs/ods_sam_vitb_mvtec.py 8
_base_ = [
    '_base_/models/ods_sam_vitb.py',
    '_base_/datasets/mvtec_unprompted_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
