# Trains on your own defects (data/industrial), evaluates on six benchmarks; missing ones are named in the log and
# skipped.
_base_ = ['../prompts/train_mix.py', '../prompts/spt_protocol.py']
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
    dict(type='PerturbPrompts', box_noise=0.1, modes=['box', 'boxes']),
    dict(type='PackPromptInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBinaryMask'),
    dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0, replace=True),  # a mask of MTD has one pixel
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False, backend='pillow'),
    dict(type='PackPromptInputs'),
]
train_dataloader = dict(
    batch_size=1,  # of each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='BinaryDefectDataset', data_root='data/industrial', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BenchmarkSuite',
        pipeline=test_pipeline,
        datasets=[
            dict(type='MVTecADDataset', data_root='data/mvtec_ad'),
            dict(type='VisADataset', data_root='data/visa'),
            dict(type='MTDDataset', data_root='data/mtd', ann_file=''),
            dict(type='KSDD2Dataset', data_root='data/ksdd2'),
            dict(type='BTADDataset', data_root='data/btad'),
            dict(type='MPDDDataset', data_root='data/mpdd'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', mode_groups={{_base_.mode_groups}})
