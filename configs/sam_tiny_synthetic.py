# Mini SAM with its mask decoder tuned on procedural defects; zero-shot, it is the baseline of tools/quickstart.sh.
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/synthetic_defects_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/default.py',
]
model = dict(init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'), trainable=[r'^mask_decoder\.(?!iou)'])
