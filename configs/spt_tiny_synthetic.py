# SPT with LoRA on the mini SAM, on procedural defects: what tools/quickstart.sh runs.
_base_ = [
    '_base_/models/spt_tiny.py',
    '_base_/peft/lora_tiny.py',
    '_base_/datasets/synthetic_defects_256.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
optim_wrapper = dict(optimizer=dict(lr=6e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=7.5 / 60),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=7.5 / 60, end=1.0),
]
train_cfg = dict(max_iters=60, val_interval=60)
