# PLM and PMM on the mini SAM: a point anywhere on an object means the whole of it, not the part.
# tools/train.py configs/plm_tiny_parts.py
_base_ = [
    '_base_/models/plm_tiny.py',
    '_base_/datasets/synthetic_parts_256.py',
    '_base_/schedules/adamw_1500.py',
    '_base_/runtime/trained_part.py',
]
