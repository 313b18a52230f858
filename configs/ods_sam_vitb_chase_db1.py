# ODS-SAM with a dataset config of MMSegmentation, unchanged: 20 images of retinas, training on crops of 128 x 128
# pixels, testing on whole images with MMSegmentation's metric. Because sizes differ, images are padded to multiples
# of 32 instead of to 1024 x 1024. 200 epochs in batches of 16, two images on each of 8 GPUs.
_base_ = [
    'mmseg::_base_/datasets/chase_db1.py',
    '_base_/models/ods_sam_vitb.py',
    '_base_/schedules/ods_sam.py',
    '_base_/runtime/ods_sam.py',
]
model = dict(data_preprocessor=dict(size=None, size_divisor=32))
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_iters=250, val_interval=50)
