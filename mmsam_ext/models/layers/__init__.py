from .conv_stem import ConvStem
from .fused_attention import FusedAttention
from .fused_layer_norm import FusedLayerNorm2d, fuse_layer_norms
from .in_place_gelu import InPlaceGELU, replace_gelus
from .omni_dimensional_conv import OmniDimensionalConv
from .omni_directional_ssm import OmniDirectionalSSM
from .selective_scan import selective_scan

__all__ = [
    'ConvStem',
    'FusedAttention',
    'FusedLayerNorm2d',
    'InPlaceGELU',
    'OmniDimensionalConv',
    'OmniDirectionalSSM',
    'fuse_layer_norms',
    'replace_gelus',
    'selective_scan',
]
