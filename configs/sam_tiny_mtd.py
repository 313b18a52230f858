# Mini SAM tuned on magnetic-tile defects (data/mtd).
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/mtd_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/default.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    # All but what no loss reaches, which several GPUs would not accept: the IoU head and the code of mask prompts.
    trainable=[r'^(?!mask_decoder\.iou_prediction_head|prompt_encoder\.mask_downscaling)'],
)
