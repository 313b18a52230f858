# SAM with LoRA on queries and values of all attentions, 12 epochs with good prompts alone.
# tools/dist_train.sh configs/lora_sam_vitl_hqseg44k.py 8
_base_ = './lora_sam_rts_vitl_hqseg44k.py'
train_dataloader = dict(dataset=dict(pipeline={{_base_.clean_pipeline}}))
