"""The image as it was loaded, for models that look at it beside the network input."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class KeepOriginalImage(BaseTransform):
    """Keep the image as it is now for the model (:class:`SAAPlusSegmentor`); put it behind LoadImageFromFile.

    Required keys: img (H, W, 3) uint8 BGR.

    Added keys: original_image (3, H, W) uint8 RGB, packed by PackPromptInputs.
    """

    def transform(self, results: dict) -> dict:
        """Add `original_image` to `results`."""
        results['original_image'] = np.ascontiguousarray(results['img'][..., ::-1].transpose(2, 0, 1))
        return results
