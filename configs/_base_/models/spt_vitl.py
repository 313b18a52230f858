_base_ = './spt_vitb.py'
model = dict(
    backbone=dict(arch='large'), init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_l_0b3195.pth')
)
