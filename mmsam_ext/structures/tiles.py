"""`TileGrid`: overlapping tiles that cover an image, and how what they predict is put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .prompt_batch import PROMPT_FIELDS, PromptBatch
from .prompts import PromptKind

#: Tiles begin at multiples of this many pixels, so that mask prompts, a quarter of the input's size, can be cut too.
ALIGNMENT = 16


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image in pixels: rows `top` to `top + height` - 1, columns `left` to `left + width` - 1."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows of the tile."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns of the tile."""
        return slice(self.left, self.left + self.width)


class TileGrid:
    """Tiles of equal size that cover an image, each overlapping its neighbours by at least the given amount.

    The last tile of a row or column is moved inwards instead of being smaller. An image that is smaller than a tile in
    one direction has tiles of its own size in that direction.

    Args:
        size: (H, W) of the image in pixels, multiples of 16.
        crop_size: (h, w) of a tile in pixels, multiples of 16.
        stride: (y, x) distance in pixels between the beginnings of neighbouring tiles, multiples of 16, at most
            `crop_size`. The overlap is `crop_size - stride`.

    Raises:
        ValueError: A size or stride is not a positive multiple of 16, or a stride is larger than a tile.

    Example::

        grid = TileGrid((4000, 6000), crop_size=(1024, 1024), stride=(768, 768))
        for tile in grid.tiles:
            part = image[:, tile.rows, tile.columns]
    """

    def __init__(self, size: Sequence[int], crop_size: Sequence[int], stride: Sequence[int]) -> None:
        for name, values in (('size', size), ('crop_size', crop_size), ('stride', stride)):
            if len(values) != 2 or any(value <= 0 or value % ALIGNMENT for value in values):
                raise ValueError(
                    f'TileGrid: {name}={tuple(values)}, expected (height, width) in positive multiples of {ALIGNMENT}'
                )
        if any(step > side for step, side in zip(stride, crop_size, strict=True)):
            raise ValueError(
                f'TileGrid: stride={tuple(stride)} is larger than crop_size={tuple(crop_size)}, which would leave gaps '
                'between tiles; expected a stride of at most the tile size'
            )
        self.size = (int(size[0]), int(size[1]))
        height, width = (min(side, whole) for side, whole in zip(crop_size, self.size, strict=True))
        self.overlap = tuple(side - step for side, step in zip(crop_size, stride, strict=True))
        self.tiles = [
            Tile(top, left, height, width)
            for top in _starts(self.size[0], height, stride[0])
            for left in _starts(self.size[1], width, stride[1])
        ]

    def __len__(self) -> int:
        return len(self.tiles)

    def weights(self, tile: Tile) -> Tensor:
        """Return the blending weights (h, w) of a tile's pixels, in (0, 1].

        They fall linearly towards each side that has a neighbour, across the overlap, and stay 1 at the image's border.
        """
        vertical = _ramp(tile.top, tile.height, self.size[0], self.overlap[0])
        horizontal = _ramp(tile.left, tile.width, self.size[1], self.overlap[1])
        return vertical[:, None] * horizontal[None]

    def assign(self, batch: PromptBatch) -> Tensor:
        """Decide which tiles answer which prompts.

        A prompt goes to the tiles that contain it whole (its box and all its foreground points) if there are any;
        otherwise to all tiles that contain one of its foreground points or a part of its box. A prompt without points
        and box goes to every tile.

        Args:
            batch: P prompts of one image, in pixels of the whole image.

        Returns:
            (T, P) bool; every prompt inside the image has at least one tile.
        """
        whole = torch.stack([_holds(tile, batch) for tile in self.tiles])  # (T, P)
        touched = torch.stack([_touches(tile, batch) for tile in self.tiles])
        return torch.where(whole.any(0), whole, touched)


def crop_prompts(batch: PromptBatch, tile: Tile, rows: Tensor) -> PromptBatch:
    """Express prompts of a whole image in the pixels of a tile.

    Boxes are clipped to the tile, points outside it become padding, mask prompts are cut.

    Args:
        batch: P prompts of one image.
        tile: The tile.
        rows: (R,) the prompts that go to it, see :meth:`TileGrid.assign`.

    Returns:
        R prompts of an image with the tile's size.
    """
    part = batch.select(rows, (len(rows),))
    corner, size = _corner_and_size(tile, part)
    points = part.points - corner
    labels = part.point_labels.masked_fill(~_inside(points, size), -1)
    boxes = (part.boxes.view(-1, 2, 2) - corner).clamp_min(0).minimum(size).flatten(1)
    masks = part.masks
    if masks.numel():
        quarter_rows, quarter_columns = (slice(side.start // 4, side.stop // 4) for side in (tile.rows, tile.columns))
        masks = masks[..., quarter_rows, quarter_columns]
    no_points = (labels == -1).all(1)
    kinds = torch.where(no_points, part.kinds & ~int(PromptKind.POINTS), part.kinds)
    return replace(
        part,
        points=points,
        point_labels=labels,
        boxes=boxes,
        masks=masks,
        kinds=kinds,
        input_size=(tile.height, tile.width),
    )


def prompts_of_image(batch: PromptBatch, image: int) -> PromptBatch:
    """Return the prompts of one image of a batch, as a batch of one image."""
    start = sum(batch.numbers[:image])
    rows = torch.arange(start, start + batch.numbers[image], device=batch.kinds.device)
    part = batch.select(rows, (len(rows),))
    return replace(part, image_index=torch.zeros_like(part.image_index), names=(batch.names[image],))


def extents(batch: PromptBatch) -> Tensor:
    """Return the smallest rectangles around the box and the foreground points of prompts.

    Returns:
        (P, 4) x1 y1 x2 y2 in pixels; x1 > x2 for a prompt with neither.
    """
    infinity = float('inf')
    no_point = ~((batch.point_labels == 1) & batch.uses(PromptKind.POINTS)[:, None])[..., None]  # (P, N, 1)
    no_box = ~batch.uses(PromptKind.BOX)[:, None, None]  # (P, 1, 1)
    corners = batch.boxes.view(-1, 2, 2)
    low = [batch.points.masked_fill(no_point, infinity), corners[:, :1].masked_fill(no_box, infinity)]
    high = [batch.points.masked_fill(no_point, -infinity), corners[:, 1:].masked_fill(no_box, -infinity)]
    return torch.cat([torch.cat(low, 1).amin(1), torch.cat(high, 1).amax(1)], 1)


def join_tiles(parts: Sequence[PromptBatch]) -> PromptBatch:
    """Join the prompts of several tiles of one image, cut by :func:`crop_prompts`, into one batch of T images."""
    numbers = tuple(len(part) for part in parts)
    device = parts[0].kinds.device
    return replace(
        parts[0],
        image_index=torch.arange(len(parts), device=device).repeat_interleave(torch.tensor(numbers, device=device)),
        numbers=numbers,
        names=tuple(name for part in parts for name in part.names),
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in PROMPT_FIELDS},
    )


def _holds(tile: Tile, batch: PromptBatch) -> Tensor:
    """Return (P,) bool: whether a tile contains the whole box and all foreground points of a prompt that has some."""
    x1, y1, x2, y2 = extents(batch).unbind(1)
    right, bottom = tile.left + tile.width, tile.top + tile.height
    return (x1 <= x2) & (x1 >= tile.left) & (y1 >= tile.top) & (x2 <= right) & (y2 <= bottom)


def _touches(tile: Tile, batch: PromptBatch) -> Tensor:
    """Return (P,) bool: whether a part of the prompt lies in the tile; True for prompts without points and box."""
    corner, size = _corner_and_size(tile, batch)
    labels = batch.point_labels
    # Background points alone do not say where the object is, unless there is nothing else.
    asked = torch.where(
        (labels == 1).any(1, keepdim=True) | batch.uses(PromptKind.BOX)[:, None], labels == 1, labels == 0
    )
    points = (_inside(batch.points - corner, size) & asked).any(1) & batch.uses(PromptKind.POINTS)
    x1, y1, x2, y2 = batch.boxes.unbind(1)
    meets = (x1 < tile.left + tile.width) & (y1 < tile.top + tile.height) & (x2 >= tile.left) & (y2 >= tile.top)
    neither = ~(batch.uses(PromptKind.POINTS) | batch.uses(PromptKind.BOX))
    return points | (meets & batch.uses(PromptKind.BOX)) | neither


def _corner_and_size(tile: Tile, batch: PromptBatch) -> tuple[Tensor, Tensor]:
    """Return (x, y) of the tile's corner and its (width, height), (2,) each, on the device of the prompts."""
    return batch.points.new_tensor([tile.left, tile.top]), batch.points.new_tensor([tile.width, tile.height])


def _inside(points: Tensor, size: Tensor) -> Tensor:
    """Return (P, N) bool for points (P, N, 2) in pixels of a tile of the given (width, height)."""
    return ((points >= -0.5) & (points <= size)).all(-1)


def _starts(size: int, side: int, step: int) -> list[int]:
    """Beginnings of tiles along one axis."""
    return [*range(0, size - side, step), size - side]


def _ramp(start: int, side: int, size: int, overlap: int) -> Tensor:
    """(side,) weights along one axis."""
    ramp = torch.ones(side)
    if not overlap:
        return ramp
    rise = (torch.arange(overlap) + 0.5) / overlap
    if start > 0:
        ramp[:overlap] = rise[:side]
    if start + side < size:
        ramp[side - overlap :] *= rise.flip(0)
    return ramp
