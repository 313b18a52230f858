# Procedural defects without prompts: no files.
_base_ = './synthetic_defects_256.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
            dict(type='PackPromptInputs'),
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=[dict(type='PackPromptInputs')]))
test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackPromptInputs')]))
val_evaluator = test_evaluator = [dict(type='EMeasure'), dict(type='MAE'), dict(type='DiceIoU')]
