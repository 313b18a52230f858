from .errors import InferenceError
from .prompt_seg_inferencer import PromptSegInferencer
from .segment_everything import SegmentEverything

__all__ = ['InferenceError', 'PromptSegInferencer', 'SegmentEverything']
