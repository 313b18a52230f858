# SPT with LoRA on SAM ViT-L.
# tools/dist_train.sh configs/spt_vitl_industrial.py 8
_base_ = [
    '_base_/models/spt_vitl.py',
    '_base_/peft/lora.py',
    '_base_/datasets/industrial_benchmarks_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
