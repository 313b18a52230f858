# Checkpoints hold what is trained alone, a few MB, and the name and hash of the file that it stands on.
_base_ = './default.py'
custom_hooks = [dict(type='InvalidLossHook'), dict(type='RandomStateHook'), dict(type='TrainableCheckpointHook')]
