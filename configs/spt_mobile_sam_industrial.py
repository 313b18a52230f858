# SPT (self-draft decoder, VRA-Adapter, LoRA) on MobileSAM, trained on data/industrial.
# tools/dist_train.sh configs/spt_mobile_sam_industrial.py 8
_base_ = [
    '_base_/models/spt_mobile_sam.py',
    '_base_/peft/lora_tiny_vit.py',
    '_base_/datasets/industrial_benchmarks_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
