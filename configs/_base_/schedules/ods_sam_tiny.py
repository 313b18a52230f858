# ODS-SAM on the mini SAM: three times the paper's rate, falling to zero by a cosine; chosen on MTD's train split
# (configs/methods/ods_sam.md). Begin and end are shares of max_iters, so changing max_iters alone stretches it.
_base_ = './ods_sam.py'
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=1.0)]
