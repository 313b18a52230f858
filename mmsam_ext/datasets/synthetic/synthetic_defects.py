"""`SyntheticDefectDataset`: computed defects on industrial surfaces."""

from __future__ import annotations

import cv2
import numpy as np
from mmseg.registry import DATASETS

from .defects import DEFECTS, draw_defect
from .procedural import ProceduralDataset
from .surfaces import surface


@DATASETS.register_module()
class SyntheticDefectDataset(ProceduralDataset):
    """Compute surfaces (metal, castings, fabric, granite, wood, leather, ...) with one to four defects of one class.

    The classes are scratch, blob, dent, stain, crack and missing (a piece broken off). Defects are darker, brighter or
    differently textured, and cover about 0.1 % to 20 % of the image. The surfaces also have features that are not
    defects: light spots, shading, seams, hairlines of the finish. A sample depends only on (seed, index), and no mask
    is empty. `defect_class` is the class of the sample.

    Args:
        length, seed, size, pipeline, kwargs: See :class:`ProceduralDataset`.
    """

    METAINFO = dict(classes=('background', 'defect'), palette=[[0, 0, 0], [255, 60, 60]])
    NAME = 'synthetic_defects'

    def render(self, rng: np.random.Generator) -> dict:
        """Return `img` (H, W, 3) uint8 BGR, `gt_seg_map` (H, W) uint8 {0, 1} and `defect_class`."""
        image = surface(rng, self.size)
        mask = np.zeros(self.size, np.uint8)
        kind = DEFECTS[int(rng.integers(len(DEFECTS)))]
        number = 1 + int(4 * rng.random() ** 1.7)
        for _ in range(number):
            draw_defect(rng, image, mask, kind, most=0.2 / number)
        while mask.sum() < mask.size // 2000:  # almost entirely outside the image: draw one more
            draw_defect(rng, image, mask, kind, most=0.2)
        return dict(img=_photograph(rng, image), gt_seg_map=mask, defect_class=kind)


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Convert `image` (H, W, 3) float32 to uint8 with sensor noise and, in half of the cases, slight blur."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.3, 1.0))
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(rng.uniform(0, 5))
    return np.clip(image + cv2.merge([grain] * 3), 0, 255).astype(np.uint8)
