from . import hooks, loops, optimizers
from .optim_wrapper_constructor import TrainableOptimWrapperConstructor

__all__ = ['TrainableOptimWrapperConstructor', 'hooks', 'loops', 'optimizers']
