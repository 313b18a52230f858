# SAA+ with SPT on SAM ViT-H on MVTec AD, SPT's Table 7: tools/test.py configs/saa_plus_spt_vith_mvtec.py CKPT, where
# CKPT is what spt_vith_industrial.py trains.
_base_ = ['./saa_plus_vith_mvtec.py', '_base_/peft/lora.py']
decoder = dict(type='SAMMaskDecoder', plugins=[dict(type='VRAAdapter', blocks=(0, 1), alpha=0.0)])
model = dict(
    mask_decoder=dict(_delete_=True, type='SelfDraftDecoder', num_drafts=1, decoder=decoder), peft={{_base_.peft}}
)
