# PLM and PMM on the mini SAM: a point on a defect means all of it (data/mtd).
# tools/train.py configs/plm_tiny_mtd.py
_base_ = [
    '_base_/models/plm_tiny.py',
    '_base_/datasets/mtd_points_384.py',
    '_base_/schedules/adamw_1500.py',
    '_base_/runtime/trained_part.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)))
