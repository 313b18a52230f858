# SAA+ with SAM ViT-H on VisA (data/visa), its images with a defect:
# tools/test.py configs/saa_plus_vith_visa.py checkpoints/sam_vit_h_4b8939.pth
# With SPT (SPT's Table 7): see saa_plus_spt_vith_mvtec.py.
_base_ = [
    '_base_/models/saa_plus_vith.py',
    '_base_/prompts/saa_plus_visa.py',
    '_base_/datasets/saa_plus_1024.py',
    '_base_/runtime/default.py',
]
model = dict(anomaly_prompts={{_base_.anomaly_prompts}})
test_dataloader = dict(
    dataset=dict(_delete_=True, type='VisADataset', test_mode=True, pipeline={{_base_.test_pipeline}})
)
