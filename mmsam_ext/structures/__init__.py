from .features import MaskPrediction, PromptEmbedding, SAMFeatures
from .prompt_batch import PromptBatch
from .prompt_groups import PromptGroup, prompt_groups
from .prompts import PromptKind, Prompts

__all__ = [
    'MaskPrediction',
    'PromptBatch',
    'PromptEmbedding',
    'PromptGroup',
    'PromptKind',
    'Prompts',
    'SAMFeatures',
    'prompt_groups',
]
