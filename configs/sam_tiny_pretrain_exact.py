# The seventh stage of the mini SAM's pretraining: boxes that fit exactly as well, so that the model learns to tell by
# its edges which of two things a box is of, and scenes of 256 px that are enlarged to 384 px, as `infer` enlarges small
# images. From the weights after the sixth stage, with a rate that falls to 0. The packaged weights are its average with
# those it starts from: export-plain-sam --average (mmsam_ext/assets/sam_tiny.md).
_base_ = './sam_tiny_pretrain_384_decay.py'

exact_modes = {
    'exact box': dict(kind='box', targets='parts', weight=3),
    'box': dict(kind='box', targets='parts', weight=0.75),
    'loose box': dict(kind='box', targets='parts', weight=1.25),
    '1 point': dict(kind='points', targets='parts', weight=2),
    '5 points': dict(kind='points', targets='parts', num_points=5, weight=1.5),
    'nothing, point': dict(kind='points', targets='background', weight=0.3),
    'nothing, box': dict(kind='box', targets='background', weight=0.15),
}
model = dict(
    rounds=(2, 3),
    init_cfg=dict(checkpoint='mmsam_ext://sam_tiny'),
    train_cfg=dict(compute_dtype=None),  # fp32: it ran on a processor without units for bf16
)
train_dataloader = dict(
    dataset=dict(
        seed=31,
        enlarged=0.4,
        shares=dict(plain=0.55, objects=0.13, crowd=0.05, defects=0.14, zones=0.13),
        pipeline=[
            dict(type='GeneratePrompts', modes=exact_modes, num_prompts=8),
            dict(type='PerturbPrompts', box_noise=0.1, modes=['box']),
            dict(type='PerturbPrompts', box_noise=0.4, modes=['loose box']),
            dict(type='PackPromptInputs'),
        ],
    ),
)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
train_cfg = dict(max_iters=1900)
