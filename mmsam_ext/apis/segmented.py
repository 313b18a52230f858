"""Images that the model has segmented, before their masks are brought to the size of the images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.models.segmentors.sliding import slide_images
from mmsam_ext.structures.samples import sample_prompts
from mmsam_ext.visualization import PromptVisualizer

from .encoded_image import with_fitted_masks
from .full_size import PLAIN, LowResMasks, MaskRules, full_size_masks
from .image_inputs import Source
from .prompt_sets import PromptSet


class Item(NamedTuple):
    """An image on its way through the model: `index` among all sources, `image` (H, W, 3) uint8 BGR."""

    index: int
    source: Source
    prompts: PromptSet
    image: np.ndarray
    packed: dict[str, Any]


class Segmented(NamedTuple):
    """What the model says of one image.

    Attributes:
        masks: Masks of its P prompts.
        scores: (P,) estimated IoU.
        sample: The data sample, with the prompts in pixels of the network input.
        presence: (P,) logits of the model's presence head; None without one.
    """

    masks: LowResMasks
    scores: Tensor
    sample: SegDataSample
    presence: Tensor | None = None

    def prediction(
        self, limit: int, with_logits: bool = False, rle: bool = False, rules: MaskRules = PLAIN
    ) -> dict[str, Any]:
        """Bring the masks to the size of the image.

        Args:
            limit: Bytes that masks may take on the way; see :meth:`LowResMasks.chunks`.
            with_logits: Add `logits` (P, H, W) float32.
            rle: Return run lengths in `rles` instead of `masks`.
            rules: The threshold and the least area of regions.

        Returns:
            `masks` (P, H, W) bool or `rles`, `scores` (P,), `union` (H, W) bool and, from a presence head, `presence`
            (P,), the probability that what a prompt asks for is in the image.
        """
        full = full_size_masks(self.masks, limit, rle, rules)
        prediction: dict[str, Any] = dict(rles=full.rles) if rle else dict(masks=full.masks)
        prediction |= dict(scores=self.scores.float().cpu().numpy(), union=full.union)
        if self.presence is not None:
            prediction['presence'] = self.presence.sigmoid().float().cpu().numpy()
        if with_logits:
            prediction['logits'] = self.masks.full_logits(limit)
        return prediction

    def overlay(self, visualizer: PromptVisualizer, image: np.ndarray, union: np.ndarray, title: str) -> np.ndarray:
        """Draw the image and the prompts beside the union of all masks.

        Args:
            visualizer: Draws the picture.
            image: (H, W, 3) uint8 BGR.
            union: (H, W) bool.
            title: First part of the title; the number of prompts follows.

        Returns:
            (H', W', 3) uint8 RGB.
        """
        number = len(self.scores)
        titled = SegDataSample(metainfo=self.sample.metainfo)  # the picture's title shows these two
        titled.set_metainfo(dict(dataset_name=title, defect_class=f'{number} prompt' + 's' * (number != 1)))
        titled.prompts = sample_prompts(self.sample)
        titled.pred_sem_seg = PixelData(data=torch.from_numpy(union)[None].to(torch.uint8))
        return visualizer.compose(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), titled, draw_gt=False, draw_pred=True)


def nothing_segmented(packed: dict[str, Any]) -> Segmented:
    """Return the answer to a packed image in which there is nothing to segment: no masks."""
    sample = packed['data_samples']
    size = sample.metainfo['ori_shape'][:2]
    return Segmented(LowResMasks(torch.zeros(0, *size), tuple(size), sample.metainfo), torch.zeros(0), sample)


@torch.no_grad()
def segment_packed(
    model: PromptableSegmentor, packed: list[dict[str, Any]], multimask: bool | str | None
) -> list[Segmented]:
    """Encode and decode packed images.

    Masks stay at the decoder's size, and those of tiles apart.

    Args:
        model: The model.
        packed: `inputs` (3, h, w) uint8 and `data_samples` with prompts, of each image.
        multimask: As for :meth:`PromptableSegmentor.predict`.

    Raises:
        ValueError: A prompt does not fit the model.
    """
    if model.slide_settings is not None:
        model.check_trained()
        images, samples = model.data_preprocessor.uncut(pseudo_collate(packed))
        choice = model.test_cfg.get('multimask', False) if multimask is None else multimask
        size = images[0].size
        # A tensor of the batch's shape that takes no memory: prompts need to know the size and the device.
        batch = model.prompt_batch(samples, torch.zeros(1, device=images[0].device).expand(len(images), 3, *size))
        tiled = slide_images(model, images, batch, model.slide_settings, choice)
        threshold = model.test_cfg.get('presence_threshold')
        masks = [replace(one, presence_threshold=threshold) for _, one in tiled]
        return [
            Segmented(LowResMasks(one, size, sample.metainfo), one.iou, sample, one.presence)
            for sample, one in zip(samples, masks, strict=True)
        ]
    data = model.data_preprocessor(pseudo_collate(packed), False)
    inputs, samples = data['inputs'], data['data_samples']
    size = tuple(inputs.shape[-2:])
    features = model.extract_feat(inputs)
    for sample in samples:
        sample.prompts = with_fitted_masks(sample.prompts, features, size, sample.metainfo)
    batch = model.prompt_batch(samples, inputs)
    logits, scores, presence = model.select_low_res(features, batch, samples, multimask)
    there = [None] * len(samples) if presence is None else batch.split(presence)
    parts = zip(batch.split(logits), batch.split(scores), samples, there, strict=True)
    return [
        Segmented(LowResMasks(low_res, size, sample.metainfo, model.one_step_resize), estimated, sample, own)
        for low_res, estimated, sample, own in parts
    ]


def segment_each(
    model: PromptableSegmentor, packed: list[dict[str, Any]], multimask: bool | str | None
) -> list[Segmented | Exception]:
    """Segment packed images together or, where that fails, one by one, to find which of them does not fit the model.

    Args:
        model: The model.
        packed: See :func:`segment_packed`.
        multimask: See :func:`segment_packed`.

    Returns:
        What the model says of each image, or the error that it caused.
    """
    if not packed:
        return []
    try:
        return list(segment_packed(model, packed, multimask))
    except Exception as error:
        if len(packed) == 1:
            return [error]
        return [answer for one in packed for answer in segment_each(model, [one], multimask)]
