# ODS-SAM on the mini SAM: the five defect classes of the magnetic tiles (data/mtd) without any prompt.
_base_ = './ods_sam_tiny_mtd.py'
model = dict(num_classes=5)
train_dataloader = dict(dataset=dict(classes='folders'))
val_dataloader = dict(dataset=dict(classes='folders'))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'], prefix='classes'),
    dict(type='DiceIoU'),
    dict(type='LabelMapWriter'),
]
