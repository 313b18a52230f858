from .base import PromptAuxiliaryHead

__all__ = ['PromptAuxiliaryHead']
