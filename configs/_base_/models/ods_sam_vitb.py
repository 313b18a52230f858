_base_ = './ods_sam_vith.py'
model = dict(
    backbone=dict(arch='base'), init_cfg=dict(type='Pretrained', checkpoint='checkpoints/sam_vit_b_01ec64.pth')
)
