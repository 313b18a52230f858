# SAA+ with SAM ViT-H on KolektorSDD2 (data/ksdd2):
# tools/test.py configs/saa_plus_vith_ksdd2.py checkpoints/sam_vit_h_4b8939.pth
# With SPT (SPT's Table 7): see saa_plus_spt_vith_mvtec.py.
_base_ = [
    '_base_/models/saa_plus_vith.py',
    '_base_/prompts/saa_plus_surfaces.py',
    '_base_/datasets/saa_plus_1024.py',
    '_base_/runtime/default.py',
]
model = dict(anomaly_prompts={{_base_.anomaly_prompts}})
data = dict(type='KSDD2Dataset', drop_empty=False, test_mode=True, pipeline={{_base_.test_pipeline}})
test_dataloader = dict(dataset=dict(_delete_=True, **data))
test_evaluator = dict(by='dataset', min_max=False)  # one category
