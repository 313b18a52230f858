_base_ = './plm_vitb.py'
model = dict(
    backbone=dict(arch='huge'), init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_h_4b8939.pth')
)
