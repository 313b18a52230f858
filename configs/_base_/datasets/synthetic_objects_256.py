# Procedural objects for pretraining: computed, without files.
pretrain_modes = {
    'box': dict(kind='box', targets='parts', weight=3),
    '1 point': dict(kind='points', targets='parts', weight=3),
    '5 points': dict(kind='points', targets='parts', num_points=5, weight=2),
}
train_dataloader = dict(
    batch_size=4,  # of two processes
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=4_000_000,
        seed=1,
        min_area=144,
        pipeline=[
            dict(type='GeneratePrompts', modes=pretrain_modes, num_prompts=8),
            dict(type='PerturbPrompts', box_noise=0.1, modes=['box']),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=64,
        seed=2,
        min_area=144,
        test_mode=True,
        pipeline=[dict(type='GeneratePrompts', modes=pretrain_modes, seed=0), dict(type='PackPromptInputs')],
    ),
)
# For the figures of the model card: 500 objects, one an image, of a seed that is used nowhere else.
pretrain_test_modes = {**pretrain_modes, 'box noise 0.4': dict(kind='box', targets='parts')}
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticObjectsDataset',
        length=500,
        seed=3,
        min_area=144,
        max_targets=1,
        test_mode=True,
        pipeline=[
            dict(type='GeneratePrompts', modes=pretrain_test_modes, seed=0),
            dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_evaluator = test_evaluator = dict(type='PromptIoUMetric', boundary=False)
