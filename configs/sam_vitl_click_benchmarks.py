# Zero-shot SAM ViT-L by clicks on GrabCut, Berkeley and DAVIS-345, as many as are there.
# tools/test.py configs/sam_vitl_click_benchmarks.py CKPT
_base_ = './sam_vitl_davis_clicks.py'
sets = [dict(type=kind) for kind in ('GrabCutDataset', 'BerkeleyDataset', 'DAVIS345Dataset')]
test_dataloader = dict(
    dataset=dict(_delete_=True, type='BenchmarkSuite', datasets=sets, pipeline={{_base_.test_pipeline}})
)
