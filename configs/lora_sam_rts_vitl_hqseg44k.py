# SAM with LoRA on queries and values of all attentions, 12 epochs with robust training.
# tools/dist_train.sh configs/lora_sam_rts_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_12_epochs.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    peft=[
        dict(type='LoRA', modules=r'^backbone\..*\.qkv$', rank=8, num_slices=3, slices=(0, 2)),
        dict(type='LoRA', modules=r'^mask_decoder\..*\.(q|v)_proj$', rank=8),
    ],
    trainable=[r'\.lora_[ab]$'],
)
