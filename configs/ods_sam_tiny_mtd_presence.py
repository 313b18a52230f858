# ODS-SAM on the mini SAM with a decision for each image: magnetic tiles with defects and without (data/mtd), no prompt.
# Every second image without a defect (normal.txt, sorted by exposure) is for training, the others for testing.
_base_ = './ods_sam_tiny_mtd.py'
model = dict(
    presence_head=dict(type='PresenceHead', embed_dim=128),
    test_cfg=dict(presence_threshold=0.5),
    trainable=[r'^prompt_stages\.', r'^presence_head\.'],
)
normal = dict(type='MTDDataset', ann_file='normal.txt', drop_empty=False)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(type='MTDDataset', ann_file='train.txt', pipeline={{_base_.train_pipeline}}),
            dict(normal, indices=list(range(0, 110, 2)), pipeline={{_base_.train_pipeline}}),
        ],
    )
)
val_dataloader = test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(type='MTDDataset', ann_file='val.txt', test_mode=True, pipeline={{_base_.test_pipeline}}),
            dict(normal, indices=list(range(1, 110, 2)), test_mode=True, pipeline={{_base_.test_pipeline}}),
        ],
    )
)
val_evaluator = test_evaluator = [
    dict(type='AnomalyMetric', image_score='presence', recall=0.95),
    dict(type='AnomalyMetric', recall=0.95, prefix='by_pixel'),
    dict(type='DiceIoU'),
]
custom_hooks = [*_base_.custom_hooks, dict(type='NormalImagesHook')]
