# Checkpoints of the trained part alone, and ODConv's temperature from 30 to 1 over the first twentieth.
_base_ = './trained_part.py'
custom_hooks = [
    dict(type='InvalidLossHook'),
    dict(type='RandomStateHook'),
    dict(type='TrainableCheckpointHook'),
    dict(type='KernelTemperatureHook'),
]
