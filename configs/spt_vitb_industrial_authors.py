# SPT on SAM ViT-B with the options that the code of its authors suggests: losses on points, gradients through the
# relation, large-scale jitter, evaluation prompts from the resized mask. Needs data/industrial.
_base_ = [
    '_base_/models/spt_vitb.py',
    '_base_/peft/lora.py',
    '_base_/datasets/industrial_benchmarks_authors_1024.py',
    '_base_/schedules/spt.py',
    '_base_/runtime/trained_part.py',
]
pixel_losses = dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss'))
model = dict(
    peft={{_base_.peft}},
    trainable={{_base_.trainable}},
    test_cfg=dict(one_step_resize=True),
    losses=dict(_delete_=True, points=dict(type='PointSampledLoss', losses=pixel_losses, num_points=12544)),
    mask_decoder=dict(decoder=dict(plugins=[dict(type='VRAAdapter', blocks=(0, 1), alpha=0.0, detach=False)])),
)
