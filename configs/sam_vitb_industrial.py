# Zero-shot SAM ViT-B on your own defects: tools/test.py configs/sam_vitb_industrial.py checkpoints/sam_vit_b_01ec64.pth
_base_ = [
    '_base_/models/sam_vitb.py',
    '_base_/datasets/industrial_1024.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
test_cfg = dict(type='TestLoop')
