from .plugins import DecoderContext, DecoderPlugin
from .sam_mask_decoder import SAMMaskDecoder

__all__ = ['DecoderContext', 'DecoderPlugin', 'SAMMaskDecoder']
