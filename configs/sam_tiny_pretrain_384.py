# The fifth stage of the mini SAM's pretraining: scenes as in the third, half of them of 384 px and two in five of them
# plain, 16 images a step, at a constant rate. End with sam_tiny_pretrain_384_decay.py at any time. The test is that of
# sam_tiny_pretrain.py, the same objects and prompts, with the images enlarged to 384 px.
_base_ = './sam_tiny_pretrain_scenes.py'

model = dict(rounds=(2, 4))
train_dataloader = dict(
    dataset=dict(
        seed=21,
        sizes=[(256, 256), (384, 384)],
        shares=dict(plain=0.42, objects=0.18, crowd=0.08, defects=0.18, zones=0.14),
    ),
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='GeneratePrompts', modes={{_base_.pretrain_test_modes}}, seed=0),
            dict(type='PerturbPrompts', box_noise=0.4, modes=['box noise 0.4'], seed=0),
            dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
            dict(type='PackPromptInputs'),
        ],
    ),
)
optim_wrapper = dict(accumulative_counts=2)
