from .conv_stem import ConvStem
from .fused_attention import FusedAttention
from .fused_layer_norm import FusedLayerNorm2d, fuse_layer_norms

__all__ = ['ConvStem', 'FusedAttention', 'FusedLayerNorm2d', 'fuse_layer_norms']
