# HQ-SAM (1.33 M parameters) on SAM ViT-L: 12 epochs, the loss on the mask of the high-quality token alone.
# tools/dist_train.sh configs/hq_sam_vitl_hqseg44k.py 8
_base_ = [
    '_base_/models/hq_sam_vitl.py',
    '_base_/datasets/hqseg44k_1024.py',
    '_base_/schedules/hqseg44k_12_epochs.py',
    '_base_/runtime/trained_part.py',
]
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth'),
    trainable=[r'^mask_decoder\.(hf_token|hf_mlp|compress_vit_feat|embedding_encoder|embedding_maskfeature)\.'],
)
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
