# SPT (self-draft decoder, VRA-Adapter, LoRA) on SAM 2.1 Hiera-B+, trained on data/industrial.
# tools/dist_train.sh configs/spt_sam2_hiera_b+_industrial.py 8
_base_ = [
    '_base_/models/spt_sam2_hiera_b+.py',
    '_base_/peft/lora.py',
    '_base_/datasets/industrial_benchmarks_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
model = dict(peft={{_base_.peft}}, trainable={{_base_.trainable}})
