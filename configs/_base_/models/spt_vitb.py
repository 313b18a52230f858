# SPT on SAM ViT-B: a draft decoder before SAM's own, each with the VRA-Adapter in both of its blocks.
_base_ = './sam_vitb.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_b_01ec64.pth'),
    mask_decoder=dict(
        _delete_=True,
        type='SelfDraftDecoder',
        num_drafts=1,
        decoder=dict(type='SAMMaskDecoder', plugins=[dict(type='VRAAdapter', blocks=(0, 1), alpha=0.0)]),
    ),
)
