# The third stage of the mini SAM's pretraining: scenes with photographs at 256 and 384 px, at a constant rate. Run
# `python tools/fetch_photographs.py data/photographs`, then `tools/dist_train.sh` with this config and 2 processes. End
# with sam_tiny_pretrain_decay.py at any time.
_base_ = ['./sam_tiny_pretrain.py', '_base_/prompts/train_scenes.py']

model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),  # load_from would keep --resume from working
    data_preprocessor=dict(size=None, size_divisor=16),
    rounds=(2, 5),  # 3.1 on average; each number of rounds trains every layer, as several processes need it
    corrected=0.25,
    losses=dict(iou=dict(empty=0.0)),  # the IoU head's score where there is nothing
)
train_dataloader = dict(
    batch_size=4,  # of two processes
    dataset=dict(
        type='SyntheticScenesDataset',
        seed=11,
        sizes=[(256, 256), (256, 256), (384, 384)],
        block=8,  # the images of a step
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
optim_wrapper = dict(optimizer=dict(lr=7e-4))
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=40)]
train_cfg = dict(max_iters=400_000, val_interval=400_000)
default_hooks = dict(checkpoint=dict(interval=50), logger=dict(interval=10))
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='RecipeHook')]
custom_hooks += [dict(type='EMAHook', momentum=0.005, begin_iter=2)]  # before it, a copy
load_from = None
