# SAM with adapters behind all attentions and MLPs, 12 epochs with robust training.
# tools/dist_train.sh configs/adapter_sam_rts_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_12_epochs.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    peft=[
        dict(type='Adapter', modules=r'^backbone\..*\.(attn\.proj|mlp\.lin2)$', width=8),
        dict(type='Adapter', modules=r'^mask_decoder\..*\.(out_proj|mlp\.lin2)$', width=8),
    ],
    trainable=[r'\.(down|up)\.(weight|bias)$'],
)
