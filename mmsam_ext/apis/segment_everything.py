"""`SegmentEverything`: all masks of an image, without a prompt."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import (
    MaskData,
    batched_mask_to_box,
    calculate_stability_score,
    is_box_near_crop_edge,
    mask_to_rle_pytorch,
    uncrop_masks,
)

from mmsam_ext.datasets.transforms.pack_prompt_inputs import rescale
from mmsam_ext.models.segmentors.mask_selection import AMBIGUOUS
from mmsam_ext.models.segmentors.original_size import to_original
from mmsam_ext.structures import PromptBatch, Prompts
from mmsam_ext.structures.tiles import ALIGNMENT, TileGrid

from .encoded_image import EncodedImage
from .errors import InferenceError
from .image_inputs import Source, list_sources
from .prompt_seg_inferencer import PromptSegInferencer

#: SAM's threshold of mask logits.
THRESHOLD = 0.0
#: Points along a side; a million in all.
MOST_POINTS = 1000
#: Layers of crops; 4^6 are 4096 tiles.
MOST_LAYERS = 6


def _check(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raise an InferenceError if a number is out of its range."""
    if value < least or (most is not None and value > most):
        raise InferenceError(f'{name} is {value}, expected {least} or more' + (f', up to {most}' if most else ''))


class SegmentEverything(SamAutomaticMaskGenerator):
    """Segment everything in an image with any promptable model: a grid of points, then filters.

    The masks are those of ``segment_anything``'s generator, whose steps and defaults these are. It is faster, because
    all points of a crop may be decoded together, and masks of a low predicted IoU are dropped before they are resized
    to the image.

    Example::

        everything = SegmentEverything(PromptSegInferencer('sam_tiny'), points_per_side=16)
        for record in everything('part.png'):
            print(record['bbox'], record['predicted_iou'], record['segmentation'].sum())

    A model that works on tiles (``test_cfg.mode='slide'``) segments everything in each tile at full resolution, with
    the grid of points in each. Objects that reach the border of a tile inside the image are found in its neighbour if
    the overlap holds them; larger ones are not found. Set ``everything.output_mode = 'uncompressed_rle'`` for large
    images, so that memory does not grow with masks times pixels.

    Args:
        inferencer: Model and pipeline.
        points_per_side: Points along each side of the grid.
        points_per_batch: Points decoded together.
        pred_iou_thresh: Least predicted IoU of a mask. Models adapted to defects may need a lower one.
        stability_score_thresh: Least IoU of the masks at thresholds `stability_score_offset` above and below 0.
        stability_score_offset: In logits.
        box_nms_thresh: Of two masks whose boxes have a higher IoU, the one of lower predicted IoU is dropped.
        crop_n_layers: Layers of tiles that are segmented, too; layer n has 4^n tiles.
        crop_nms_thresh: As `box_nms_thresh`, between tiles.
        crop_overlap_ratio: Overlap of tiles as a share of the image's side.
        crop_n_points_downscale_factor: Points per side in layer n are divided by its n-th power.
        min_mask_region_area: Regions and holes of fewer pixels are removed.

    Raises:
        InferenceError: an argument out of range; by calls, an image that cannot be used, or a model that makes its own
            prompts only.
    """

    def __init__(
        self,
        inferencer: PromptSegInferencer,
        points_per_side: int = 32,
        points_per_batch: int = 256,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        min_mask_region_area: int = 0,
    ) -> None:
        _check('points_per_side', points_per_side, 1, MOST_POINTS)
        _check('points_per_batch', points_per_batch, 1)
        _check('crop_n_layers', crop_n_layers, 0, MOST_LAYERS)
        _check('min_mask_region_area', min_mask_region_area, 0)
        for name, value in dict(pred_iou=pred_iou_thresh, stability_score=stability_score_thresh).items():
            if math.isnan(value):
                raise InferenceError(f'{name}_thresh is {value}, expected a number')
        # The generator wants a SAM for its predictor, which ours replaces.
        sam: Any = SimpleNamespace(image_encoder=SimpleNamespace(img_size=1))
        super().__init__(
            sam,
            points_per_side=points_per_side,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            min_mask_region_area=min_mask_region_area,
        )
        self.inferencer = inferencer
        self.predictor = _CropEncoder(inferencer)

    def __call__(self, image: str | os.PathLike | np.ndarray) -> list[dict[str, Any]]:
        """Segment an image.

        Args:
            image: A path or an array (H, W, 3) uint8 BGR.

        Returns:
            A record for each mask: `segmentation` (H, W) bool, `area`, `bbox` (x, y, width, height), `predicted_iou`,
            `stability_score`, `point_coords` (the point that prompted it) and `crop_box` (x, y, width, height).
        """
        sources = list_sources(image)
        if len(sources) != 1:
            raise InferenceError(f'SegmentEverything: {len(sources)} images, expected one')
        return self.generate(self.inferencer.pipeline.load(sources[0])['img'])

    def _generate_masks(self, image: np.ndarray) -> MaskData:
        """Segment each tile of a model that works on tiles, and drop duplicates; otherwise as the base class."""
        settings = self.inferencer.model.slide_settings
        if settings is None:
            return super()._generate_masks(image)
        from torchvision.ops import batched_nms  # takes a second to import

        height, width = image.shape[:2]
        padded = [-(-side // ALIGNMENT) * ALIGNMENT for side in (height, width)]
        tiles = TileGrid(padded, settings.crop_size, settings.stride).tiles
        data = MaskData()
        for tile in tiles:
            box = [tile.left, tile.top, min(tile.left + tile.width, width), min(tile.top + tile.height, height)]
            data.cat(self._process_crop(image, box, 0, (height, width)))
        boxes = data['boxes']
        data.filter(batched_nms(boxes.float(), data['iou_preds'], torch.zeros_like(boxes[:, 0]), self.crop_nms_thresh))
        data.to_numpy()
        return data

    def _process_crop(self, image: np.ndarray, crop_box: list[int], crop_layer_idx: int, orig_size: tuple) -> MaskData:
        data = super()._process_crop(image, crop_box, crop_layer_idx, orig_size)
        data['crop_boxes'] = data['crop_boxes'].reshape(-1, 4)  # where nothing was found, it has one dimension
        return data

    def _process_batch(
        self, points: np.ndarray, im_size: tuple[int, ...], crop_box: list[int], orig_size: tuple[int, ...]
    ) -> MaskData:
        """Segment points (N, 2) of a crop, and filter the masks as ``segment_anything`` does."""
        iou, logits, rows = self._decode(points)
        data = MaskData(masks=logits, iou_preds=iou, points=torch.from_numpy(points)[rows])
        data['stability_score'] = calculate_stability_score(data['masks'], THRESHOLD, self.stability_score_offset)
        if self.stability_score_thresh > 0:
            data.filter(data['stability_score'] >= self.stability_score_thresh)
        data['masks'] = data['masks'] > THRESHOLD
        data['boxes'] = batched_mask_to_box(data['masks'])
        height, width = orig_size
        data.filter(~is_box_near_crop_edge(data['boxes'], crop_box, [0, 0, width, height]))
        # One mask at a time at the size of the image, which may be that of many crops.
        whole = (uncrop_masks(mask[None], crop_box, height, width) for mask in data['masks'])
        data['rles'] = [mask_to_rle_pytorch(mask)[0] for mask in whole]
        del data['masks']
        return data

    def _decode(self, points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predicted IoU (M,), logits (M, H, W) and point (M,) of all masks with a high enough predicted IoU."""
        encoded, model = self.predictor.encoded, self.inferencer.model
        assert encoded is not None, 'the generator encodes a crop before it predicts points on it'
        old, new = encoded.meta['ori_shape'][:2], encoded.meta['img_shape'][:2]
        labels = np.ones((len(points), 1), np.int64)
        prompts = rescale(Prompts.create(points=points[:, None], point_labels=labels), old, new, encoded.name)
        device = encoded.features.embedding.device
        batch = PromptBatch.from_prompts([prompts.to(device)], encoded.input_size, [encoded.name])
        prediction = model.decode(encoded.features, batch).masks(AMBIGUOUS)  # (N, 3, h, w), (N, 3)
        iou = prediction.iou.flatten()
        keep = iou > self.pred_iou_thresh if self.pred_iou_thresh > 0 else torch.ones_like(iou, dtype=torch.bool)
        logits = prediction.logits.flatten(0, 1)[keep]
        logits = to_original(logits, encoded.input_size, encoded.meta, model.one_step_resize)
        return iou[keep], logits, keep.nonzero()[:, 0].cpu() // prediction.iou.shape[1]


class _CropEncoder:
    """Encodes crops of an image; what the generator calls its predictor.

    Args:
        inferencer: Model and pipeline.
    """

    def __init__(self, inferencer: PromptSegInferencer) -> None:
        self.inferencer = inferencer
        self.encoded: EncodedImage | None = None

    def set_image(self, image: np.ndarray) -> None:
        """Encode a crop (H, W, 3) uint8 BGR."""
        pipeline = self.inferencer.pipeline
        source = Source('image', array=np.ascontiguousarray(image))
        packed = pipeline.pack(pipeline.load(source), Prompts.empty())
        self.encoded = EncodedImage.encode(self.inferencer.model, packed, source.name)

    def reset_image(self) -> None:
        """Forget the crop."""
        self.encoded = None
