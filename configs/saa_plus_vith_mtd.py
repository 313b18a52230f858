# SAA+ with SAM ViT-H on magnetic tiles (data/mtd):
# tools/test.py configs/saa_plus_vith_mtd.py checkpoints/sam_vit_h_4b8939.pth
# With SPT (SPT's Table 7): see saa_plus_spt_vith_mvtec.py.
_base_ = [
    '_base_/models/saa_plus_vith.py',
    '_base_/prompts/saa_plus_surfaces.py',
    '_base_/datasets/saa_plus_1024.py',
    '_base_/runtime/default.py',
]
model = dict(anomaly_prompts={{_base_.anomaly_prompts}})
sets = [dict(type='MTDDataset', ann_file=file, drop_empty=False) for file in ('val.txt', 'normal.txt')]
test_dataloader = dict(
    dataset=dict(_delete_=True, type='BenchmarkSuite', datasets=sets, pipeline={{_base_.test_pipeline}})
)
test_evaluator = dict(by='dataset', min_max=False)  # one category
