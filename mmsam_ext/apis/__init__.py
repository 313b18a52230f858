from .errors import InferenceError
from .prompt_seg_inferencer import PromptSegInferencer

__all__ = ['InferenceError', 'PromptSegInferencer']
