# Polyps in PraNet's layout: 1,450 training images, four test sets (missing ones are skipped).
_base_ = './unprompted_1024.py'
train_dataloader = dict(dataset=dict(type='PolypDataset', subset='train'))
val_dataloader = test_dataloader = dict(
    dataset=dict(
        type='BenchmarkSuite',
        datasets=[
            dict(type='PolypDataset', subset='Kvasir'),
            dict(type='PolypDataset', subset='CVC-ClinicDB'),
            dict(type='PolypDataset', subset='CVC-ColonDB'),
            dict(type='PolypDataset', subset='ETIS-LaribPolypDB'),
        ],
    )
)
