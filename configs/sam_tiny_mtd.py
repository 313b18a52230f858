# Mini SAM tuned on magnetic-tile defects (data/mtd).
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/mtd_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/default.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    # Neither the prompt encoder nor the IoU head: without mask prompts and an IoU loss they get no gradient, and DDP
    # refuses parameters without one.
    trainable=[r'^backbone\.', r'^mask_decoder\.(?!iou)'],
)
