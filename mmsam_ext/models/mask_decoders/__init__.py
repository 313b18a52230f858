from .plugins import (
    DecoderContext,
    DecoderPlugin,
    DeformableSamplingPlugin,
    DynamicRouter,
    DynamicRoutingPlugin,
    MaskTokenPlugin,
    VRAAdapter,
)
from .sam_mask_decoder import SAMMaskDecoder
from .self_draft_decoder import SelfDraftDecoder

__all__ = [
    'DecoderContext',
    'DecoderPlugin',
    'DeformableSamplingPlugin',
    'DynamicRouter',
    'DynamicRoutingPlugin',
    'MaskTokenPlugin',
    'SAMMaskDecoder',
    'SelfDraftDecoder',
    'VRAAdapter',
]
