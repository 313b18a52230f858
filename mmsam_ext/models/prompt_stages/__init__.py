from .base import PromptStage, apply_stages, build_stage
from .class_embedding import ClassEmbedding
from .prompt_learning_module import PromptLearningModule
from .ssmodc_prompt_head import SSMODCPromptHead

__all__ = ['ClassEmbedding', 'PromptLearningModule', 'PromptStage', 'SSMODCPromptHead', 'apply_stages', 'build_stage']
