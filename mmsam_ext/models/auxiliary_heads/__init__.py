from .base import PromptAuxiliaryHead
from .point_matching_module import PointMatchingModule

__all__ = ['PointMatchingModule', 'PromptAuxiliaryHead']
