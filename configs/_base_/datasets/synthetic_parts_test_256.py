# Procedural objects made of parts; the whole object is the target. 200 test images.
_base_ = ['../prompts/plm.py']
test_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SyntheticPartsDataset',
        length=200,
        seed=32,
        test_mode=True,
        pipeline=[
            dict(type='GeneratePrompts', modes={{_base_.test_modes}}, seed=0),
            dict(type='PackPromptInputs'),
        ],
    ),
)
test_evaluator = [dict(type='PromptIoUMetric'), dict(type='StabilityMetric')]
