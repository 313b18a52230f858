# SPT with DoRA on SAM ViT-B.
# tools/dist_train.sh configs/spt-dora_vitb_industrial.py 8
_base_ = [
    '_base_/models/spt_vitb.py',
    '_base_/peft/dora.py',
    '_base_/datasets/industrial_benchmarks_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
