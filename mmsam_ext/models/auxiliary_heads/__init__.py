from .base import PromptAuxiliaryHead, check_heads
from .point_matching_module import PointMatchingModule
from .scene_head import SceneHead

__all__ = ['PointMatchingModule', 'PromptAuxiliaryHead', 'SceneHead', 'check_heads']
