# The third stage of the mini SAM's pretraining: scenes with photographs at 256 and 384 px, at a constant rate. First
# `python tools/fetch_photographs.py data/photographs`. End with sam_tiny_pretrain_decay.py at any time.
_base_ = ['./sam_tiny_pretrain.py', '_base_/prompts/train_scenes.py']

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),  # load_from would keep --resume from working
    data_preprocessor=dict(size=None, size_divisor=16),
    rounds=(1, 8),  # 2.9 on average
    losses=dict(iou=dict(empty=0.0)),  # the IoU head's score where there is nothing
    train_cfg=dict(compute_dtype=None),  # bf16 is slower where the processor does not have it
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type='SyntheticScenesDataset',
        seed=11,
        sizes=[(256, 256), (256, 256), (384, 384)],
        block=8,  # as batch_size
        min_area=100,
        photographs='data/photographs',
        pipeline=[
            dict(type='GeneratePrompts', modes={{_base_.scene_modes}}, num_prompts=8),
            dict(type='PerturbPrompts', box_noise=0.1, modes=['box']),
            dict(type='PerturbPrompts', box_noise=0.4, modes=['loose box']),
            dict(type='PackPromptInputs'),
        ],
    ),
)
# AdamW, since Muon computes in bf16, too; the weights are past the steps from scratch where it pays most.
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-4, betas=(0.9, 0.98), weight_decay=0.05))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40)]
train_cfg = dict(max_iters=400_000, val_interval=400_000)
default_hooks = dict(checkpoint=dict(interval=50), logger=dict(interval=10))
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='RecipeHook')]
custom_hooks += [dict(type='EMAHook', momentum=0.005, begin_iter=2)]  # before it, a copy
load_from = None
