from .base import PromptStage
from .prompt_learning_module import PromptLearningModule

__all__ = ['PromptLearningModule', 'PromptStage']
