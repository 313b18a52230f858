# Zero-shot SAM ViT-H on your own defects: tools/test.py configs/sam_vith_industrial.py checkpoints/sam_vit_h_4b8939.pth
_base_ = [
    '_base_/models/sam_vith.py',
    '_base_/datasets/industrial_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
test_cfg = dict(type='TestLoop')
