# SPT with LoRA on the mini SAM, on magnetic-tile defects (data/mtd).
# tools/train.py configs/spt_tiny_mtd.py
_base_ = [
    '_base_/models/spt_tiny.py',
    '_base_/peft/lora_tiny.py',
    '_base_/datasets/mtd_384.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
model = dict(data_preprocessor=dict(size=(384, 384)), peft={{_base_.peft}}, trainable={{_base_.trainable}})
optim_wrapper = dict(optimizer=dict(lr=6e-3))
