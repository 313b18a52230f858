"""A folder of procedural photographs of parts, with cracks and without: for demonstrations and tests of whole runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .defects import draw_defect
from .surfaces import surface


def cracked_part(seed: int, size: tuple[int, int], cracked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Compute a photograph of a part.

    Args:
        seed: The part; the same surface comes with and without a crack.
        size: (height, width).
        cracked: Whether it has a crack.

    Returns:
        The image (H, W, 3) uint8 BGR, and the mask (H, W) uint8 {0, 1}.
    """
    rng = np.random.default_rng(seed)
    image, mask = surface(rng, size), np.zeros(size, np.uint8)
    while cracked and mask.sum() < mask.size // 1000:
        draw_defect(rng, image, mask, 'crack', most=0.1)
    return np.clip(image, 0, 255).astype(np.uint8), mask


def write_cracked_parts(
    folder: str | Path, number: int, size: tuple[int, int] = (256, 256), normal_share: float = 0.4, seed: int = 0
) -> Path:
    """Write ``images`` and ``masks`` of `number` parts, of which about `normal_share` have no crack; return the folder.

    Example::

        write_cracked_parts('data/cracks', 40)
    """
    root = Path(folder)
    for name in ('images', 'masks'):
        (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        cracked = (index * normal_share) % 1 < 1 - normal_share
        image, mask = cracked_part(1000 * seed + index, size, cracked)
        cv2.imwrite(str(root / 'images' / f'{index:04}.png'), image)
        cv2.imwrite(str(root / 'masks' / f'{index:04}.png'), mask * 255)
    return root
