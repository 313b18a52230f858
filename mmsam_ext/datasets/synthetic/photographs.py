"""Crops of photographs, as fills and backgrounds of procedural scenes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')


class Photographs:
    """Draw random crops from a folder of photographs; `tools/fetch_photographs.py` makes one of free images.

    Files are listed once, in the order of their names, and each is read when it is first drawn and kept. A crop
    depends on the generator and on the folder's content alone.

    Args:
        folder: Folder of images, not searched recursively.

    Raises:
        FileNotFoundError: if the folder holds no image.
    """

    def __init__(self, folder: str | Path) -> None:
        self.files = sorted(file for file in Path(folder).glob('*') if file.suffix.lower() in SUFFIXES)
        if not self.files:
            raise FileNotFoundError(
                f'photographs={str(folder)!r}: no image file ({", ".join(SUFFIXES)}) in this folder; make it by '
                f'`python tools/fetch_photographs.py {folder}`, or train without photographs (photographs=None)'
            )
        self._images: dict[int, np.ndarray] = {}

    def crop(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Return a crop of random place, zoom, orientation, brightness and saturation.

        Args:
            rng: Source of random numbers.
            height: Height of the result in pixels.
            width: Width of the result in pixels.

        Returns:
            (height, width, 3) float32 BGR, about [0, 255].
        """
        image = self._read(int(rng.integers(len(self.files))))
        if rng.random() < 0.5:
            image = image.transpose(1, 0, 2)
        fit = min(image.shape[0] / height, image.shape[1] / width)  # source pixels of a pixel, at most
        # From slightly enlarged (photographs that are out of focus at the pixel's scale) to all that there is.
        zoom = float(np.exp(rng.uniform(np.log(min(0.7, fit)), np.log(min(fit, 3.0)))))
        rows, columns = max(2, int(zoom * height)), max(2, int(zoom * width))
        top = int(rng.integers(image.shape[0] - rows + 1))
        left = int(rng.integers(image.shape[1] - columns + 1))
        crop = np.ascontiguousarray(image[top : top + rows, left : left + columns])
        flip = int(rng.integers(4))
        if flip < 3:
            crop = cv2.flip(crop, flip - 1)
        filter_ = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (width, height), interpolation=filter_).astype(np.float32)
        if rng.random() < 0.4:  # grey, as industrial cameras are
            crop = cv2.merge([cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)] * 3)
        contrast = float(np.exp(rng.uniform(np.log(0.4), np.log(1.4))))
        level = cv2.mean(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY))[0]
        wanted = np.clip(level + rng.normal(0, 30), 25, 225)
        return (crop - np.float32(level)) * np.float32(contrast) + np.float32(wanted)

    def _read(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of a file."""
        if index not in self._images:
            image = cv2.imread(str(self.files[index]), cv2.IMREAD_COLOR)
            if image is None:
                raise OSError(f'{self.files[index]}: the file cannot be read as an image; replace or delete it')
            self._images[index] = image
        return self._images[index]
