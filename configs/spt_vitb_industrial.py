# SPT (self-draft decoder, VRA-Adapter, LoRA) on SAM ViT-B, trained on data/industrial, evaluated on six benchmarks.
# tools/dist_train.sh configs/spt_vitb_industrial.py 8
_base_ = [
    '_base_/models/spt_vitb.py',
    '_base_/peft/lora.py',
    '_base_/datasets/industrial_benchmarks_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
