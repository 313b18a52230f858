from .sam2_image_encoder import SAM2ImageEncoder
from .sam_image_encoder import SAMImageEncoder
from .tiny_vit_image_encoder import TinyViTImageEncoder

__all__ = ['SAM2ImageEncoder', 'SAMImageEncoder', 'TinyViTImageEncoder']
