# SAA+'s steps with SPT on the mini SAM in place of SAM, as in SPT's Table 7, with boxes from a file:
# tools/test.py configs/saa_plus_spt_tiny_mtd_file.py CKPT, where CKPT is what spt_tiny_mtd.py trains.
_base_ = ['./saa_plus_tiny_mtd_file.py', '_base_/peft/lora_tiny.py']
model = dict(
    peft={{_base_.peft}},
    trainable={{_base_.trainable}},
    mask_decoder=dict(
        _delete_=True,
        type='SelfDraftDecoder',
        num_drafts=1,
        decoder=dict(
            type='SAMMaskDecoder',
            transformer_dim=128,
            stage_channels=(48, 96),
            plugins=[dict(type='VRAAdapter', dim=128, blocks=(0, 1), alpha=0.0)],
        ),
    ),
)
