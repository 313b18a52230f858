# Procedural objects made of parts; the whole object is the target (with asks='part', the parts are).
_base_ = ['./synthetic_parts_test_256.py']
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='SyntheticPartsDataset',
        length=2000,
        seed=30,
        pipeline=[
            dict(type='GeneratePrompts', modes={{_base_.train_modes}}, num_prompts=4),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticPartsDataset',
        length=60,
        seed=31,
        test_mode=True,
        pipeline=[
            dict(type='GeneratePrompts', modes={{_base_.val_modes}}, seed=0),
            dict(type='PackPromptInputs'),
        ],
    ),
)
val_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
