# SPT with Stable-SAM's plugins in its decoders, too: one more line in the decoder's config, one pattern in `trainable`.
# tools/dist_train.sh configs/stable_spt_vitb_industrial.py 8
_base_ = './spt_vitb_industrial.py'
plugins = [
    dict(type='DeformableSamplingPlugin', router=dict(type='DynamicRouter')),
    dict(type='VRAAdapter', blocks=(0, 1), alpha=0.0),
]
model = dict(
    mask_decoder=dict(decoder=dict(plugins=plugins)),
    trainable=[r'\.(lora_[ab]|beta\.\d+)$', r'\.plugins\.0\.'],
)
