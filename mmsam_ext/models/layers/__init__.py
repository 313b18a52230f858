from .conv_stem import ConvStem
from .fused_attention import FusedAttention
from .fused_layer_norm import FusedLayerNorm2d, fuse_layer_norms
from .omni_dimensional_conv import OmniDimensionalConv
from .omni_directional_ssm import OmniDirectionalSSM
from .selective_scan import selective_scan

__all__ = [
    'ConvStem',
    'FusedAttention',
    'FusedLayerNorm2d',
    'OmniDimensionalConv',
    'OmniDirectionalSSM',
    'fuse_layer_norms',
    'selective_scan',
]
