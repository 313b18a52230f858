# The mini SAM as it is: tools/test.py configs/sam_tiny_parts.py mmsam_ext/assets/sam_tiny.safetensors
_base_ = [
    '_base_/models/sam_tiny.py',
    '_base_/datasets/synthetic_parts_test_256.py',
    '_base_/runtime/default.py',
]
model = dict(trainable=())
test_cfg = dict(type='TestLoop')
