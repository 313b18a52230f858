_base_ = './sam_vitb.py'
model = dict(backbone=dict(arch='large'))
