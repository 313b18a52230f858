from .base import DecoderContext, DecoderPlugin, install_plugins
from .deformable_sampling import DeformableSamplingPlugin, SamplingRecord, sample_bilinear
from .dynamic_router import DynamicRouter, DynamicRoutingPlugin
from .mask_token import MaskTokenPlugin
from .visual_relation_adapter import VRAAdapter, visual_relation

__all__ = [
    'DecoderContext',
    'DecoderPlugin',
    'DeformableSamplingPlugin',
    'DynamicRouter',
    'DynamicRoutingPlugin',
    'MaskTokenPlugin',
    'SamplingRecord',
    'VRAAdapter',
    'install_plugins',
    'sample_bilinear',
    'visual_relation',
]
