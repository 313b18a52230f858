# Checkpoints hold only the trained part (a few MB), with the name and hash of the base checkpoint.
_base_ = './default.py'
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='TrainableCheckpointHook')]
