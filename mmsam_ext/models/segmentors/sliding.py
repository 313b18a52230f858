"""Prediction on overlapping tiles, for images whose defects are too small to survive a resize to one network input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import PromptBatch, PromptKind, UncutImage
from mmsam_ext.structures.samples import OUTSIDE, write_prediction
from mmsam_ext.structures.tiles import ALIGNMENT, Tile, TileGrid, crop_prompts, extents, join_tiles, prompts_of_image

from .mask_selection import empty_absent, select_masks
from .original_size import to_original
from .rounds import decode_rounds
from .tile_cache import TileCache
from .tiled_masks import TiledMasks

if TYPE_CHECKING:
    from .promptable_segmentor import PromptableSegmentor


#: Names in `test_cfg`, which are the fields below.
TILE_SETTINGS = ('crop_size', 'stride', 'overview', 'tiles_per_batch', 'cache_mb')


@dataclass(frozen=True)
class SlideSettings:
    """The options of ``test_cfg=dict(mode='slide', ...)``; `mode`, `crop_size` and `stride` are MMSegmentation's.

    Attributes:
        crop_size: (h, w) of a tile in pixels of the network input, multiples of 16.
        stride: (y, x) distance between neighbouring tiles, multiples of 16 up to `crop_size`.
        overview: Look at the whole image in one input as well. Prompts that do not fit into a tile then take its mask
            as a mask prompt in each tile, and prompts without points and box (prompt-free methods) find what is
            visible at either scale. Without it, such prompts are answered tile by tile.
        tiles_per_batch: Tiles that are encoded in one call.
        cache_mb: Megabytes of features of tiles that an image keeps that is encoded once and prompted several times.
    """

    crop_size: tuple[int, int]
    stride: tuple[int, int]
    overview: bool = True
    tiles_per_batch: int = 1
    cache_mb: int = 1024

    def __post_init__(self) -> None:
        for name in ('tiles_per_batch', 'cache_mb'):
            if getattr(self, name) < 1:
                raise ValueError(f'test_cfg.{name} is {getattr(self, name)}, expected 1 or more')
        TileGrid(self.crop_size, self.crop_size, self.stride)  # checks both

    @classmethod
    def from_config(cls, test_cfg: dict) -> SlideSettings | None:
        """Read the settings of a segmentor's `test_cfg`; None unless its mode is 'slide'.

        Raises:
            ValueError: An unknown mode, or a size or stride that is missing or does not fit.
        """
        mode = test_cfg.get('mode', 'whole')
        if mode not in ('whole', 'slide'):
            raise ValueError(f"test_cfg.mode is {mode!r}, expected 'whole' or 'slide'")
        if mode == 'whole':
            return None
        for name, value in (('multimask', 'oracle'), ('one_step_resize', True)):
            if test_cfg.get(name) == value:
                raise ValueError(f"test_cfg.{name} is {value!r}, which is not available with test_cfg.mode='slide'")
        missing = [name for name in ('crop_size', 'stride') if name not in test_cfg]
        if missing:
            raise ValueError(
                f"test_cfg.mode is 'slide', which needs test_cfg.{missing[0]} as (height, width) in pixels"
            )
        values = {name: test_cfg[name] for name in TILE_SETTINGS if name in test_cfg}
        values.update({name: tuple(values[name]) for name in ('crop_size', 'stride')})
        return cls(**values)


def predict_tiles(
    model: PromptableSegmentor,
    inputs: Tensor,
    batch: PromptBatch,
    samples: list[SegDataSample],
    settings: SlideSettings,
    multimask: bool | str = False,
) -> list[SegDataSample]:
    """Predict masks at the original size on tiles, image by image.

    Args:
        model: A segmentor.
        inputs: (B, 3, H, W), normalised and padded to multiples of 16.
        batch: The P prompts of all images, in pixels of `inputs`.
        samples: One data sample per image.
        settings: The tiles.
        multimask: Which mask each tile selects, as in `test_cfg`; not 'oracle'.

    Returns:
        The samples, completed as :meth:`PromptableSegmentor.predict_from_features` says.
    """
    images = [UncutImage.of(image[None]) for image in inputs]
    for sample, (prompts, tiled) in zip(samples, slide_images(model, images, batch, settings, multimask), strict=True):
        masks = torch.cat(
            [to_original(tiled.logits(row)[None], batch.input_size, sample.metainfo) for row in range(len(prompts))]
        )
        fields = {name: getattr(prompts, name) for name in ('target_ids', 'draw_ids', 'mode_ids', 'class_ids')}
        if tiled.presence is not None:
            masks = empty_absent(masks, tiled.presence, model.test_cfg.get('presence_threshold'))
            fields['presence'] = tiled.presence
        write_prediction(sample, masks, tiled.iou, model.num_classes, **fields)
    return samples


def slide_images(
    model: PromptableSegmentor,
    images: Sequence[UncutImage],
    batch: PromptBatch,
    settings: SlideSettings,
    multimask: bool | str = False,
) -> Iterator[tuple[PromptBatch, TiledMasks]]:
    """Yield the prompts of each image and their masks; arguments as for :func:`predict_tiles`."""
    for index, image in enumerate(images):
        prompts = prompts_of_image(batch, index)
        yield prompts, slide(model, image, prompts, settings, multimask)


def slide(
    model: PromptableSegmentor,
    image: UncutImage,
    batch: PromptBatch,
    settings: SlideSettings,
    multimask: bool | str = False,
    cache: TileCache | None = None,
) -> TiledMasks:
    """Predict the masks of all prompts of one image on tiles. A tile without prompts is not encoded.

    Args:
        model: A segmentor.
        image: The image, whose network input has sides that are multiples of 16.
        batch: P prompts, in pixels of the image.
        settings: Of the tiles.
        multimask: Which mask each tile selects, as in `test_cfg`; not 'oracle'.
        cache: Keeps the features of the tiles for further calls with this image; None encodes them anew.

    Returns:
        The masks, to be put together prompt by prompt.

    Raises:
        ValueError: A prompt lies outside the image, or mask prompts have another size than a quarter of the image's.
    """
    grid = TileGrid(image.size, settings.crop_size, settings.stride)
    count = len(batch)
    pieces: list[list[tuple[Tile, Tensor]]] = [[] for _ in range(count)]
    overview: list[Tensor | None] = [None] * count
    assigned = grid.assign(batch)  # (T, P)
    _check_prompts(batch, grid, assigned)
    empty = ~(batch.uses(PromptKind.POINTS) | batch.uses(PromptKind.BOX))
    large = _larger_than(batch, settings.crop_size)
    if settings.overview and len(grid) > 1 and bool((large | empty).any()):
        rows = (large | empty).nonzero()[:, 0]
        logits = _look_at_whole(model, image, batch.select(rows, (len(rows),)), settings, multimask, cache)
        for row, mask in zip(rows.tolist(), logits, strict=True):
            overview[row] = mask
        batch, reached = _with_overview(batch, grid, large, overview)
        assigned &= reached
    scores = torch.zeros(count, device=image.device)
    areas = torch.zeros(count, device=image.device)
    presence: Tensor | None = None
    refiner = getattr(model, 'mask_refiner', None)
    jobs = [(tile, rows.nonzero()[:, 0]) for tile, rows in zip(grid.tiles, assigned, strict=True) if rows.any()]
    step = settings.tiles_per_batch if cache is None else 1
    for start in range(0, len(jobs), step):
        part = jobs[start : start + step]
        crops = torch.cat([image.crop(tile.rows, tile.columns) for tile, _ in part])
        features = model.extract_feat(crops) if cache is None else cache.features(model, part[0][0], crops)
        prompts = join_tiles([crop_prompts(batch, tile, rows) for tile, rows in part])
        prediction = decode_rounds(model, features, prompts)
        logits, iou = select_masks(prediction, prompts, multimask)
        if refiner is not None:
            logits = refiner(features, prompts.image_index, logits, prompts.input_size)
        if prediction.presence is not None:
            presence = torch.full_like(scores, OUTSIDE) if presence is None else presence
            for (_, rows), values in zip(part, prompts.split(prediction.presence), strict=True):
                presence[rows] = presence[rows].maximum(values)
        for (tile, rows), masks, values in zip(part, prompts.split(logits), prompts.split(iou), strict=True):
            area = (masks > 0).flatten(1).sum(1).float() + 1e-3
            scores[rows] += area * values
            areas[rows] += area
            for row, mask in zip(rows.tolist(), masks, strict=True):
                pieces[row].append((tile, mask.clone()))
    for row in range(count):
        if not bool(empty[row]) and pieces[row]:  # the tiles saw the overview as their mask prompt
            overview[row] = None
    return TiledMasks(grid, pieces, overview, scores / areas.clamp_min(1e-3), presence)


def _check_prompts(batch: PromptBatch, grid: TileGrid, assigned: Tensor) -> None:
    """Check that every prompt has a tile, and the size of mask prompts."""
    height, width = grid.size
    missed = ~assigned.any(0)
    if missed.any():
        row = int(missed.nonzero()[0, 0])
        raise ValueError(
            f'{batch.names[0]}: prompt {row} touches no tile of the image of {width} x {height} (width x height) '
            f'pixels, expected points or a box within it: points {batch.points[row].tolist()}, '
            f'box {batch.boxes[row].tolist()}'
        )
    if batch.masks.numel() and batch.masks.shape[-2:] != (height // 4, width // 4):
        raise ValueError(
            f'{batch.names[0]}: field `masks` has shape {tuple(batch.masks.shape)}, expected ({len(batch)}, 1, '
            f'{height // 4}, {width // 4}), a quarter of the size of the whole image, of which tiles are cut'
        )


def _look_at_whole(
    model: PromptableSegmentor,
    image: UncutImage,
    batch: PromptBatch,
    settings: SlideSettings,
    multimask: bool | str,
    cache: TileCache | None,
) -> Tensor:
    """Return (P, h, w) low-resolution logits of the whole image, shrunk to the size of a tile; batch: P prompts."""
    height, width = image.size
    scale = min(1.0, settings.crop_size[0] / height, settings.crop_size[1] / width)
    size = _aligned(height * scale), _aligned(width * scale)
    factors = batch.points.new_tensor([size[1] / width, size[0] / height])
    masks = batch.masks
    if masks.numel():
        masks = F.interpolate(masks, (size[0] // 4, size[1] // 4), mode='bilinear', align_corners=False)
    small = replace(
        batch, points=batch.points * factors, boxes=batch.boxes * factors.repeat(2), masks=masks, input_size=size
    )
    shrunk = image.shrunk(size)
    features = model.extract_feat(shrunk) if cache is None else cache.features(model, 'whole', shrunk)
    return select_masks(decode_rounds(model, features, small), small, multimask)[0]


def _with_overview(
    batch: PromptBatch, grid: TileGrid, large: Tensor, overview: list[Tensor | None]
) -> tuple[PromptBatch, Tensor]:
    """Give large prompts the overview's mask as a mask prompt.

    Returns:
        The prompts, and (T, P) bool: whether the overview found something in a tile (True for other prompts).
    """
    reached = torch.ones(len(grid), len(batch), dtype=torch.bool, device=batch.kinds.device)
    if not bool(large.any()):
        return batch, reached
    size = (grid.size[0] // 4, grid.size[1] // 4)
    masks = batch.masks if batch.masks.numel() else batch.points.new_zeros(len(batch), 1, *size)
    masks, kinds = masks.clone(), batch.kinds.clone()
    for row in large.nonzero()[:, 0].tolist():
        mask = overview[row]
        assert mask is not None
        masks[row, 0] = F.interpolate(mask[None, None].float(), size, mode='bilinear', align_corners=False)[0, 0]
        kinds[row] |= int(PromptKind.MASK)
        for index, tile in enumerate(grid.tiles):
            rows, columns = (slice(part.start // 4, part.stop // 4) for part in (tile.rows, tile.columns))
            reached[index, row] = bool((masks[row, 0, rows, columns] > 0).any())
    return replace(batch, masks=masks, kinds=kinds), reached


def _larger_than(batch: PromptBatch, crop_size: tuple[int, int]) -> Tensor:
    """Return (P,) bool: True for prompts whose box or points do not fit into a tile."""
    x1, y1, x2, y2 = extents(batch).unbind(1)
    return (x2 - x1 > crop_size[1]) | (y2 - y1 > crop_size[0])


def _aligned(side: float) -> int:
    """Round to a multiple of 16 pixels, at least 16."""
    return max(ALIGNMENT, round(side / ALIGNMENT) * ALIGNMENT)
