# MVTec AD's 1,258 images with a defect. The paper names no split; here a seeded 80 % of each kind are for training.
_base_ = './unprompted_1024.py'
train_dataloader = dict(dataset=dict(type='MVTecADSplitDataset', split='train'))
val_dataloader = test_dataloader = dict(dataset=dict(type='MVTecADSplitDataset', split='test'))
val_evaluator = test_evaluator = [
    dict(type='EMeasure', by='category'),
    dict(type='MAE', by='category'),
    dict(type='DiceIoU', by='category'),
]
# AnomalyMetric(by='category'), which scores images as normal or defective, needs normal=True in the datasets.
