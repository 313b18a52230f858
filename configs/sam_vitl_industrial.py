# Zero-shot SAM ViT-L on your own defects: tools/test.py configs/sam_vitl_industrial.py checkpoints/sam_vit_l_0b3195.pth
_base_ = [
    '_base_/models/sam_vitl.py',
    '_base_/datasets/industrial_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
test_cfg = dict(type='TestLoop')
