# Stable-SAM without dynamic routing (Table 6, + DSP + RTS).
# tools/dist_train.sh configs/dsp_rts_vitl_hqseg44k.py 8
_base_ = './stable_sam_vitl_hqseg44k.py'
model = dict(mask_decoder=dict(plugins=[dict(type='DeformableSamplingPlugin')]))
