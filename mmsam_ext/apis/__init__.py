from .errors import InferenceError
from .outside_prompts import text_prompts
from .prompt_seg_inferencer import PromptSegInferencer
from .rle import decode_rle, encode_rle
from .segment_everything import SegmentEverything

__all__ = ['InferenceError', 'PromptSegInferencer', 'SegmentEverything', 'decode_rle', 'encode_rle', 'text_prompts']
