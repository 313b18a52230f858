"""`UncutImage`: an image that tiles are cut from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows of the whole image that are normalised at a time.
_BAND = 256


@dataclass(frozen=True)
class UncutImage:
    """An image that tiles are cut from; only what is cut is normalised.

    A photograph of 24 megapixels takes 72 MB as it is loaded, and 288 MB normalised.

    Attributes:
        pixels: (3 or 1, h, w), as loaded.
        size: (H, W) of the network input, to which the image is padded on the right and at the bottom.
        normalise: What the data preprocessor does to pixels: (3 or 1, a, b) -> (3, a, b) float32.
        padding: Value of padded pixels.
    """

    pixels: Tensor
    size: tuple[int, int]
    normalise: Callable[[Tensor], Tensor]
    padding: float = 0.0

    @classmethod
    def of(cls, image: Tensor) -> UncutImage:
        """Wrap an image (1, 3, H, W) that is normalised and padded already."""
        return cls(image[0], (int(image.shape[-2]), int(image.shape[-1])), lambda pixels: pixels)

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.pixels.device

    def crop(self, rows: slice, columns: slice) -> Tensor:
        """Return a part of the network input, (1, 3, rows, columns)."""
        part = self.normalise(self.pixels[:, rows, columns])
        missing = (0, columns.stop - columns.start - part.shape[-1], 0, rows.stop - rows.start - part.shape[-2])
        return (F.pad(part, missing, value=self.padding) if any(missing) else part)[None]

    def shrunk(self, size: tuple[int, int]) -> Tensor:
        """Return the whole network input at a smaller size (h, w), (1, 3, h, w), with antialiasing."""
        height, width = self.size
        bands = [slice(top, min(top + _BAND, height)) for top in range(0, height, _BAND)]
        narrow = [_resized(self.crop(band, slice(0, width)), (band.stop - band.start, size[1])) for band in bands]
        return _resized(torch.cat(narrow, 2), size)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode='bilinear', antialias=True, align_corners=False)
