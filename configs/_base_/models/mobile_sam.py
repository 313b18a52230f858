# MobileSAM, as in its authors' mobile_sam.pt: SAM with a TinyViT as its image encoder. TinySAM has the same parts.
_base_ = './sam_vitb.py'
model = dict(backbone=dict(_delete_=True, type='TinyViTImageEncoder'))
