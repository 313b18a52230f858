"""Inference, labelling, training and decisions from Python. Each name is imported when it is first used."""

from typing import TYPE_CHECKING

from mmsam_ext.lazy import attribute_importer

if TYPE_CHECKING:
    from .errors import InferenceError
    from .outside_prompts import text_prompts
    from .prompt_seg_inferencer import PromptSegInferencer
    from .rle import decode_rle, encode_rle
    from .segment_everything import SegmentEverything

__getattr__ = attribute_importer(
    __name__,
    {
        'errors': ['InferenceError'],
        'outside_prompts': ['text_prompts'],
        'prompt_seg_inferencer': ['PromptSegInferencer'],
        'rle': ['decode_rle', 'encode_rle'],
        'segment_everything': ['SegmentEverything'],
    },
)
__all__ = ['InferenceError', 'PromptSegInferencer', 'SegmentEverything', 'decode_rle', 'encode_rle', 'text_prompts']
