from .sam2_prompt_encoder import SAM2PromptEncoder
from .sam_prompt_encoder import SAMPromptEncoder

__all__ = ['SAM2PromptEncoder', 'SAMPromptEncoder']
