# GlaS: 85 images to train on, 80 to test on (parts A and B).
_base_ = './unprompted_1024.py'
train_dataloader = dict(dataset=dict(type='GlaSDataset', split='train'))
val_dataloader = test_dataloader = dict(dataset=dict(type='GlaSDataset', split='test'))
