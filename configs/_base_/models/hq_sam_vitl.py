# HQ-SAM ViT-L, as in its authors' sam_hq_vit_l.pth: the early feature is that of the first block with global attention.
_base_ = './sam_vitl.py'
model = dict(
    backbone=dict(out_indices=(5,)),
    mask_decoder=dict(_delete_=True, type='HQMaskDecoder', early_dim=1024),
)
