from .freezing import freeze_all_but, keep_frozen_in_eval
from .interactive_segmentor import InteractiveSegmentor
from .prompt_tta import PromptTTAModel
from .promptable_segmentor import PromptableSegmentor

__all__ = ['InteractiveSegmentor', 'PromptTTAModel', 'PromptableSegmentor', 'freeze_all_but', 'keep_frozen_in_eval']
