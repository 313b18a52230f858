# SAM-F, the baseline: the mask decoder is fine-tuned, without PLM and PMM.
# tools/dist_train.sh configs/sam-f_vith_celebamask.py 8
_base_ = './plm_vith_celebamask.py'
model = dict(prompt_stages=[], auxiliary_heads=[], trainable=[r'^mask_decoder\.'])
