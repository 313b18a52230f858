# SPT on the mini SAM on magnetic tiles (data/mtd) with the options of spt_vitb_industrial_authors.py; as many points
# of a mask of 96 x 96 as 12,544 are of 256 x 256.
_base_ = [
    '_base_/models/spt_tiny.py',
    '_base_/peft/lora_tiny.py',
    '_base_/datasets/mtd_authors_384.py',
    '_base_/schedules/adamw_600.py',
    '_base_/runtime/trained_part.py',
]
pixel_losses = dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss'))
model = dict(
    data_preprocessor=dict(size=(384, 384)),
    peft={{_base_.peft}},
    trainable={{_base_.trainable}},
    test_cfg=dict(one_step_resize=True),
    losses=dict(_delete_=True, points=dict(type='PointSampledLoss', losses=pixel_losses, num_points=1764)),
    mask_decoder=dict(decoder=dict(plugins=[dict(type='VRAAdapter', dim=128, blocks=(0, 1), alpha=0.0, detach=False)])),
)
optim_wrapper = dict(optimizer=dict(lr=6e-3))
