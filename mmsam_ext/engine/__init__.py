from . import hooks, optimizers
from .optim_wrapper_constructor import TrainableOptimWrapperConstructor

__all__ = ['TrainableOptimWrapperConstructor', 'hooks', 'optimizers']
