# LoRA alone on SAM ViT-B: neither draft nor VRA-Adapter, the baseline of SPT's tables.
# tools/dist_train.sh configs/lora_vitb_industrial.py 8
_base_ = './spt_vitb_industrial.py'
model = dict(mask_decoder=dict(num_drafts=0, decoder=dict(plugins=[])), peft=dict(draft=None))
