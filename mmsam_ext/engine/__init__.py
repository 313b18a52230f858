from . import checkpoint_loaders, hooks
from .optim_wrapper_constructor import TrainableOptimWrapperConstructor

__all__ = ['TrainableOptimWrapperConstructor', 'checkpoint_loaders', 'hooks']
