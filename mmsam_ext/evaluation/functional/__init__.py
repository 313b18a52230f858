from .boundary import boundary_iou, mask_boundary
from .mask_iou import mask_iou
from .stability import stability

__all__ = ['boundary_iou', 'mask_boundary', 'mask_iou', 'stability']
