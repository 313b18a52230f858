# Checkpoints hold only the trained part; ODConv's temperature falls from 30 to 1 in the first twentieth of training.
_base_ = './trained_part.py'
custom_hooks = [
    dict(type='InvalidLossHook'),
    dict(type='RandomStateHook'),
    dict(type='TrainableCheckpointHook'),
    dict(type='KernelTemperatureHook'),
]
