from . import checkpoint_loaders, hooks, optimizers
from .optim_wrapper_constructor import TrainableOptimWrapperConstructor

__all__ = ['TrainableOptimWrapperConstructor', 'checkpoint_loaders', 'hooks', 'optimizers']
