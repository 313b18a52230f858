from .base import PromptStage

__all__ = ['PromptStage']
