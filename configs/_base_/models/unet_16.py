# U-Net with a quarter of its channels: 1.8 M parameters, which a CPU can train.
_base_ = './unet.py'
model = dict(backbone=dict(base_channels=16), decode_head=dict(in_channels=16, channels=16))
