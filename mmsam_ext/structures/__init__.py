from .features import MaskPrediction, PromptEmbedding, SAMFeatures
from .prompts import PromptKind, Prompts

__all__ = ['MaskPrediction', 'PromptEmbedding', 'PromptKind', 'Prompts', 'SAMFeatures']
