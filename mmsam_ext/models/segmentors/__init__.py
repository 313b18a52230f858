from .adapted_encoder_decoder import AdaptedEncoderDecoder
from .freezing import freeze_all_but, keep_frozen_in_eval
from .interactive_segmentor import InteractiveSegmentor
from .original_size import to_original
from .prompt_tta import PromptTTAModel
from .promptable_segmentor import PromptableSegmentor

__all__ = [
    'AdaptedEncoderDecoder',
    'InteractiveSegmentor',
    'PromptTTAModel',
    'PromptableSegmentor',
    'freeze_all_but',
    'keep_frozen_in_eval',
    'to_original',
]
