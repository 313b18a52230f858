from .features import AMBIGUOUS, SINGLE, MaskPrediction, PromptEmbedding, SAMFeatures
from .prompt_batch import PromptBatch
from .prompt_groups import PromptGroup, prompt_groups
from .prompts import PromptKind, Prompts

__all__ = [
    'AMBIGUOUS',
    'SINGLE',
    'MaskPrediction',
    'PromptBatch',
    'PromptEmbedding',
    'PromptGroup',
    'PromptKind',
    'Prompts',
    'SAMFeatures',
    'prompt_groups',
]
