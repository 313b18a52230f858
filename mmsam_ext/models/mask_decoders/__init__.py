from .plugins import DecoderContext, DecoderPlugin, VRAAdapter
from .sam_mask_decoder import SAMMaskDecoder
from .self_draft_decoder import SelfDraftDecoder

__all__ = ['DecoderContext', 'DecoderPlugin', 'SAMMaskDecoder', 'SelfDraftDecoder', 'VRAAdapter']
