# Deformable sampling alone, trained on good prompts (Table 6, + DSP).
# tools/dist_train.sh configs/dsp_vitl_hqseg44k.py 8
_base_ = './dsp_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
