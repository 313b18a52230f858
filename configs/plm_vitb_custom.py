# PLM and PMM on SAM ViT-B, for a smaller GPU, on your own objects (data/custom): one point means the whole object.
# tools/train.py configs/plm_vitb_custom.py
_base_ = [
    '_base_/models/plm_vitb.py',
    '_base_/datasets/custom_1024.py',
    '_base_/schedules/adamw_20k.py',
    '_base_/runtime/trained_part.py',
]
