# ODS-SAM on your own images: change the two lines below. The folder holds images/, masks/ and a list of stems for
# each split.
_base_ = [
    '_base_/models/ods_sam_vitb.py',
    '_base_/datasets/unprompted_1024.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
data_root = 'data/industrial'
train_cfg = dict(max_iters=2500, val_interval=500)  # 200 epochs of 200 images on 8 GPUs; on one GPU see the schedule

dataset = dict(type='BinaryDefectDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(ann_file='train.txt', **dataset))
val_dataloader = test_dataloader = dict(dataset=dict(ann_file='val.txt', **dataset))
val_evaluator = test_evaluator = [dict(type='EMeasure'), dict(type='MAE'), dict(type='DiceIoU')]
