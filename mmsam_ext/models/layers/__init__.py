from .conv_stem import ConvStem
from .fused_attention import FusedAttention

__all__ = ['ConvStem', 'FusedAttention']
