from .atomic_checkpoint_hook import AtomicCheckpointHook
from .invalid_loss_hook import InvalidLossHook
from .trainable_checkpoint_hook import TrainableCheckpointHook

__all__ = ['AtomicCheckpointHook', 'InvalidLossHook', 'TrainableCheckpointHook']
