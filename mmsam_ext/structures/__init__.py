from .features import AMBIGUOUS, SINGLE, MaskPrediction, PromptEmbedding, SAMFeatures
from .prompt_batch import PromptBatch
from .prompt_groups import PromptGroup, prompt_groups
from .prompts import PromptKind, Prompts
from .uncut_image import UncutImage

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
    'UncutImage',
    'prompt_groups',
]
