from .prompts import PromptKind, Prompts
from .stages import MaskPrediction, PromptEmbedding, SAMFeatures

__all__ = ['MaskPrediction', 'PromptEmbedding', 'PromptKind', 'Prompts', 'SAMFeatures']
