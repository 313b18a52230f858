# MVTec AD's 1,258 images with a defect. The paper gives no split: here a seeded 80 % of each kind are to train on.
_base_ = './unprompted_1024.py'
train_dataloader = dict(dataset=dict(type='MVTecADSplitDataset', split='train'))
val_dataloader = test_dataloader = dict(dataset=dict(type='MVTecADSplitDataset', split='test'))
val_evaluator = test_evaluator = [
    dict(type='EMeasure', by='category'),
    dict(type='MAE', by='category'),
    dict(type='DiceIoU', by='category'),
]
# With AnomalyMetric(by='category'), which tells defects from normal images: normal=True in the datasets.
