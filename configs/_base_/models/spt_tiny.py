# SPT on the mini SAM.
_base_ = './sam_tiny.py'
model = dict(
    init_cfg=dict(type='Pretrained', checkpoint='mmsam_ext://sam_tiny'),
    mask_decoder=dict(
        _delete_=True,
        type='SelfDraftDecoder',
        num_drafts=1,
        decoder=dict(
            type='SAMMaskDecoder',
            transformer_dim=128,
            stage_channels=(48, 96),
            plugins=[dict(type='VRAAdapter', dim=128, blocks=(0, 1), alpha=0.0)],
        ),
    ),
)
