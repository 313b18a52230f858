"""An image for a model that works on tiles, to be prompted many times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.models.segmentors.sliding import SlideSettings, slide
from mmsam_ext.models.segmentors.tile_cache import TileCache
from mmsam_ext.models.segmentors.tiled_masks import TiledMasks
from mmsam_ext.structures import PromptBatch, UncutImage
from mmsam_ext.structures.prompts import rescale

from .encoded_image import EncodedImage
from .errors import InferenceError, name_error
from .full_size import LowResMasks
from .prompt_formats import fit_masks
from .prompt_sets import PromptSet


class TiledImage(NamedTuple):
    """Hold one image, and the features of those of its tiles that were needed so far.

    Attributes:
        name: Name of the image in error messages.
        image: The image, of which tiles are cut.
        cache: Features of tiles.
        meta: Metainfo of the image's sample; `ori_shape` and `img_shape` are (height, width) before and after the
            pipeline.
    """

    name: str
    image: UncutImage
    cache: TileCache
    meta: dict[str, Any]

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the padded network input."""
        return self.image.size

    @torch.no_grad()
    def decode(
        self, model: PromptableSegmentor, given: PromptSet, multimask: bool | str | None = None
    ) -> tuple[LowResMasks, Tensor]:
        """Decode prompts; a tile is encoded when a prompt touches it first.

        Args:
            model: The model.
            given: P prompts in pixels of the original image.
            multimask: As for :meth:`PromptableSegmentor.predict`.

        Returns:
            The masks, to be put together a few at a time, and estimated IoU (P,).

        Raises:
            InferenceError: As :meth:`EncodedImage.decode`, or the features of one tile exceed ``test_cfg.cache_mb``.
        """
        model.check_trained()
        old, new = self.meta['ori_shape'][:2], self.meta['img_shape'][:2]
        prompts = rescale(given.prompts(old[1], old[0], self.name), old, new, self.name)
        if prompts.masks.numel():
            size = (self.input_size[0] // 4, self.input_size[1] // 4)
            prompts = prompts.with_masks(fit_masks(prompts.masks, size, self.input_size, self.meta))
        batch = PromptBatch.from_prompts([prompts.to(self.image.device)], self.input_size, [self.name])
        choice = model.test_cfg.get('multimask', False) if multimask is None else multimask
        settings = cast('SlideSettings', model.slide_settings)  # as in encode_image
        try:
            tiled = slide(model, self.image, batch, settings, choice, self.cache)
        except ValueError as error:
            raise InferenceError(name_error(error, self.name)) from error
        tiled = replace(tiled, presence_threshold=model.test_cfg.get('presence_threshold'))
        return LowResMasks(tiled, self.input_size, self.meta), tiled.iou

    def as_prompts(self, masks: TiledMasks) -> Tensor:
        """Return the masks at the size of mask prompts, logits (P, H / 4, W / 4), made one at a time."""
        small = [
            F.interpolate(masks[row : row + 1][None], scale_factor=0.25, mode='area')[0] for row in range(len(masks))
        ]
        return torch.cat(small)


@torch.no_grad()
def encode_image(model: PromptableSegmentor, packed: dict[str, Any], name: str) -> EncodedImage | TiledImage:
    """Preprocess a packed image, and encode it unless the model works on tiles, which are encoded when needed.

    Args:
        model: The model.
        packed: `inputs` (3, h, w) uint8 and `data_samples`.
        name: Name of the image in error messages.
    """
    if model.slide_settings is None:
        return EncodedImage.encode(model, packed, name)
    images, samples = model.data_preprocessor.uncut(pseudo_collate([packed]))
    return TiledImage(name, images[0], TileCache(model.slide_settings.cache_mb), samples[0].metainfo)
