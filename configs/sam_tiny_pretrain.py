# SAM's own training at small scale, on procedural objects: how mmsam_ext/assets/sam_tiny.safetensors was made.
# This is the second stage, sam_tiny_pretrain_128.py the first.
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/synthetic_objects_256.py',
    '_base_/schedules/pretrain_1800.py',
    '_base_/runtime/default.py',
]

model = dict(
    type='InteractiveSegmentor',
    rounds=2,
    corrected=0.5,
    scene_head=dict(type='SceneHead', in_channels=128, edge_weight=1.0, pixel_weight=0.25, group_weight=0.5),
    losses=dict(
        _delete_=True,
        focal=dict(type='MaskFocalLoss'),
        dice=dict(type='MaskDiceLoss'),
        iou=dict(type='IoUPredictionLoss'),
    ),
    train_cfg=dict(multimask='both', compute_dtype='bfloat16'),
    test_cfg=dict(
        multimask='oracle'
    ),  # one point: the best of three masks; 'ambiguous' takes the one that the IoU head prefers
    backbone=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0)),
)
train_dataloader = dict(dataset=dict(seed=4))
load_from = 'work_dirs/sam_tiny_pretrain_128/iter_1250.pth'
