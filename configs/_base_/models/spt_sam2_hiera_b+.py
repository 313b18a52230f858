# SPT on SAM 2.1 Hiera-B+: a draft decoder before SAM 2's own, each with the VRA-Adapter in both of its blocks.
_base_ = './sam2_hiera_l.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam2.1_hiera_base_plus.pt'),
    backbone=dict(arch='base_plus'),
    mask_decoder=dict(
        _delete_=True,
        type='SelfDraftDecoder',
        num_drafts=1,
        decoder=dict(type='SAM2MaskDecoder', plugins=[dict(type='VRAAdapter', blocks=(0, 1), alpha=0.0)]),
    ),
)
