from .base import PromptStage, apply_stages, build_stage
from .prompt_learning_module import PromptLearningModule
from .ssmodc_prompt_head import SSMODCPromptHead

__all__ = ['PromptLearningModule', 'PromptStage', 'SSMODCPromptHead', 'apply_stages', 'build_stage']
