"""`TiledMasks`: what tiles predicted, put together when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from mmsam_ext.structures.samples import OUTSIDE
from mmsam_ext.structures.tiles import Tile, TileGrid

from .mask_selection import empty_absent


@dataclass
class TiledMasks:
    """The masks of P prompts of one image, as logits of the tiles that answered them.

    They are put together when they are read, a few prompts at a time, so that memory does not grow with prompts times
    pixels: ``masks[2:5]`` are the (3, H, W) logits of three prompts.

    Attributes:
        grid: The tiles.
        pieces: For each prompt its tiles, from top to bottom, and their logits, (h / 4, w / 4) each.
        overview: For each prompt the logits of the whole image, at low resolution, or None.
        iou: (P,) estimated IoU: the mean over a prompt's tiles, weighted by the predicted area.
        presence: (P,) logits of the presence head, the highest of a prompt's tiles; None without one.
        presence_threshold: Masks that are read together are empty below this probability; None keeps all.
    """

    grid: TileGrid
    pieces: list[list[tuple[Tile, Tensor]]]
    overview: list[Tensor | None]
    iou: Tensor
    presence: Tensor | None = None
    presence_threshold: float | None = None

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, rows: slice) -> Tensor:
        """Return the (n, H, W) logits of n prompts, without those whose object is absent."""
        maps = [self.logits(row) for row in range(*rows.indices(len(self)))]
        logits = maps[0][None] if len(maps) == 1 else torch.stack(maps)  # a copy takes 4 bytes a pixel
        return logits if self.presence is None else empty_absent(logits, self.presence[rows], self.presence_threshold)

    def logits(self, prompt: int) -> Tensor:
        """Return the (H, W) logits of one prompt, tiles blended by :meth:`TileGrid.weights`."""
        result = torch.full(self.grid.size, OUTSIDE, device=self.iou.device)
        for rows, values in self._blended(self.pieces[prompt]):
            result[rows] = values
        overview = self.overview[prompt]
        if overview is not None:
            for rows, values in _enlarged(overview, self.grid.size):
                torch.maximum(result[rows], values, out=result[rows])
        return result

    def _blended(self, pieces: list[tuple[Tile, Tensor]]) -> Iterator[tuple[slice, Tensor]]:
        """Yield bands of rows and their logits (n, W), such that no more than a row of tiles is held."""
        width, device = self.grid.size[1], self.iou.device
        total = weight = torch.zeros(0, width, device=device)
        start = 0
        for top, row in groupby(pieces, key=lambda piece: piece[0].top):
            # No further tile reaches above this one.
            done = min(top - start, len(total))
            yield slice(start, start + done), _mean(total[:done], weight[:done])
            tiles = list(row)
            height = tiles[0][0].height
            total, weight = (
                torch.cat([part[done:], part.new_zeros(height - len(part) + done, width)]) for part in (total, weight)
            )
            start = top
            for tile, logits in tiles:
                weights = self.grid.weights(tile).to(device)
                total[:, tile.columns] += weights * _resize(logits, (tile.height, tile.width))
                weight[:, tile.columns] += weights
        yield slice(start, start + len(total)), _mean(total, weight)


def _mean(total: Tensor, weight: Tensor) -> Tensor:
    """Divide sums by their weights; OUTSIDE where there is none."""
    return (total / weight.clamp_min(1e-6)).masked_fill_(weight == 0, OUTSIDE)


def _enlarged(logits: Tensor, size: tuple[int, int], band: int = 256) -> Iterator[tuple[slice, Tensor]]:
    """Resize logits (h, w) to (H, W), bilinear as :func:`_resize`, and yield it in bands of rows."""
    wide = _resize(logits, (len(logits), size[1]))
    for start in range(0, size[0], band):
        rows = torch.arange(start, min(start + band, size[0]), device=logits.device)
        place = ((rows + 0.5) * (len(wide) / size[0]) - 0.5).clamp_(0, len(wide) - 1)  # among the rows of `wide`
        above = place.long()
        below = (above + 1).clamp_max_(len(wide) - 1)
        yield slice(start, start + len(rows)), torch.lerp(wide[above], wide[below], (place - above)[:, None])


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (h, w) logits."""
    return F.interpolate(logits[None, None].float(), size, mode='bilinear', align_corners=False)[0, 0]
