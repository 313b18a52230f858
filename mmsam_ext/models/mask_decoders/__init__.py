from .hq_mask_decoder import HQMaskDecoder
from .hq_sam2_mask_decoder import HQSAM2MaskDecoder
from .plugins import (
    DecoderContext,
    DecoderPlugin,
    DeformableSamplingPlugin,
    DynamicRouter,
    DynamicRoutingPlugin,
    MaskTokenPlugin,
    SamplingRecord,
    VRAAdapter,
)
from .sam2_mask_decoder import SAM2MaskDecoder
from .sam_mask_decoder import SAMMaskDecoder
from .self_draft_decoder import SelfDraftDecoder

__all__ = [
    'DecoderContext',
    'DecoderPlugin',
    'DeformableSamplingPlugin',
    'DynamicRouter',
    'DynamicRoutingPlugin',
    'HQMaskDecoder',
    'HQSAM2MaskDecoder',
    'MaskTokenPlugin',
    'SAM2MaskDecoder',
    'SAMMaskDecoder',
    'SamplingRecord',
    'SelfDraftDecoder',
    'VRAAdapter',
]
