# SAA+'s steps with the mini SAM on magnetic tiles, defective and normal ones, with boxes from data/mtd/boxes.json (a
# COCO result file, images by `file_name`; `python -m mmsam_ext simulate-boxes` makes one) in place of text:
# tools/test.py configs/saa_plus_tiny_mtd_file.py mmsam_ext://sam_tiny
_base_ = './sam_tiny_mtd_clicks.py'
model = dict(
    type='SAAPlusSegmentor',
    box_source=dict(type='BoxesFromFile', defects='data/mtd/boxes.json'),
    anomaly_prompts={'*': dict(object='tile')},
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='KeepOriginalImage'),
    dict(type='Resize', scale=(384, 384), keep_ratio=False, backend='pillow'),
    dict(type='LoadBinaryMask'),
    dict(type='PackPromptInputs'),
]
sets = [
    dict(type='MTDDataset', data_root='data/mtd', ann_file=file, drop_empty=False) for file in ('val.txt', 'normal.txt')
]
test_dataloader = dict(dataset=dict(_delete_=True, type='BenchmarkSuite', datasets=sets, pipeline=test_pipeline))
test_evaluator = dict(_delete_=True, type='AnomalyMetric', size=(400, 400))
test_cfg = dict(_delete_=True, type='TestLoop')
