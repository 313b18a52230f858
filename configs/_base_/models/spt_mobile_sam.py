# SPT on MobileSAM: a draft decoder before SAM's own, each with the VRA-Adapter in both of its blocks.
_base_ = './spt_vitb.py'
model = dict(
    init_cfg=dict(checkpoint='checkpoints/mobile_sam.pt'),
    backbone=dict(_delete_=True, type='TinyViTImageEncoder'),
)
