# Mini SAM on the cracks of the magnetic tiles (data/mtd), with masks that are corrected at the resolution of the input.
_base_ = './sam_tiny_mtd.py'
cracks = dict(dataset=dict(defect_classes=['MT_Crack']))
model = dict(
    mask_refiner=dict(type='PointRefiner', embed_dim=128),
    trainable=[r'^backbone\.', r'^mask_decoder\.(?!iou)', r'^mask_refiner\.'],
)
train_dataloader = cracks
val_dataloader = cracks
test_dataloader = cracks
val_evaluator = test_evaluator = dict(thin=True)
