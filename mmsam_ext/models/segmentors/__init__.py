from .freezing import freeze_all_but, keep_frozen_in_eval
from .promptable_segmentor import PromptableSegmentor

__all__ = ['PromptableSegmentor', 'freeze_all_but', 'keep_frozen_in_eval']
