"""Interactive segmentation of one image by a simulated user: click, predict, look at the error, click again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.datasets.transforms.prompt_rng import prompt_rng
from mmsam_ext.evaluation.functional import Clicker
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import PromptBatch, Prompts, SAMFeatures
from mmsam_ext.structures.prompts import rescale
from mmsam_ext.structures.samples import (
    ignored_pixels,
    predictions,
    sample_name,
    sample_prompts,
    target_masks,
    write_prediction,
)

#: When the best of the masks for ambiguous prompts is taken, by predicted IoU.
MULTIMASK = ('first', 'every', 'never')
STREAM = 1000


@dataclass(frozen=True)
class ClickSettings:
    """How the simulated user and the model talk to each other.

    Attributes:
        max_clicks: Clicks on each object.
        multimask: Best of SAM's three masks by predicted IoU at the 'first' click only (SAM's paper), at 'every' click
            (SegNext's evaluation of SAM), or 'never'.
        feed_back: Give the previous mask's logits to the model as a mask prompt.
        stop_at: IoU from which on an object is clicked no more; its last IoU stands for the clicks that remain. None:
            all clicks are made.
        seed: Of realistic clicks, random pixels of the largest error, a function of (seed, sample, target, draw).
            None: the deepest pixel.
        last_clicks: Give the model only the last clicks, this number of them; what earlier ones did is in the mask that
            is fed back. For models that were trained with few clicks. None: all clicks.

    Raises:
        ValueError: a value that is not as described.
    """

    max_clicks: int = 20
    multimask: str = 'first'
    feed_back: bool = True
    stop_at: float | None = None
    seed: int | None = None
    last_clicks: int | None = None

    def __post_init__(self) -> None:
        if self.last_clicks is not None and self.last_clicks < 1:
            raise ValueError(f'ClickTestLoop: last_clicks={self.last_clicks}, expected 1 or more, or None')
        if self.max_clicks < 1:
            raise ValueError(f'ClickTestLoop: max_clicks={self.max_clicks}, expected 1 or more')
        if self.multimask not in MULTIMASK:
            raise ValueError(f'ClickTestLoop: multimask={self.multimask!r}, expected one of {MULTIMASK}')
        if self.stop_at is not None and not 0 < self.stop_at <= 1:
            raise ValueError(f'ClickTestLoop: stop_at={self.stop_at}, expected an IoU in (0, 1] or None')

    def takes_best(self, click: int) -> bool:
        """Whether the best of three masks is taken after `click`, counted from 1."""
        return self.multimask == 'every' or (self.multimask == 'first' and click == 1)


def click_image(
    model: PromptableSegmentor,
    features: SAMFeatures,
    input_size: tuple[int, int],
    sample: SegDataSample,
    settings: ClickSettings,
) -> SegDataSample:
    """Segment all objects of an encoded image by clicks.

    Args:
        model: Decodes the clicks of all objects together.
        features: Of the image, embedding (1, C, h, w).
        input_size: (H, W) of the padded network input.
        sample: With targets; its P prompts say which of them to click on (`target_ids`, `draw_ids`, `mode_ids`).
        settings: See :class:`ClickSettings`.

    Returns:
        The sample with all clicks as its prompts, and `pred_instances`: mask_logits (P, H0, W0) after the last click,
        iou_scores, target_ids, draw_ids, mode_ids (P,) and click_ious (P, max_clicks), the true IoU after each click.

    Raises:
        ValueError: an object without a pixel; names the sample and the target.
    """
    asked = sample_prompts(sample)
    clickers = _clickers(sample, settings)
    shape = clickers[0].target.shape
    logits = torch.zeros(len(asked), *shape)
    low_res: Tensor | None = None
    scores, ious = torch.zeros(len(asked)), np.zeros((len(asked), settings.max_clicks))
    active = list(range(len(asked)))
    for click in range(1, settings.max_clicks + 1):
        active = [row for row in active if clickers[row].next_click(logits[row].numpy() > 0) is not None]
        if not active:
            break
        rows = torch.tensor(active)
        masks = low_res[rows, None] if low_res is not None and settings.feed_back else None
        prompts = _prompts([clickers[row] for row in active], masks, sample, settings.last_clicks).to(
            features.embedding.device
        )
        batch = PromptBatch.from_prompts([prompts], input_size, [sample_name(sample)])
        answer = SegDataSample(metainfo=sample.metainfo)
        model.predict_from_features(features, batch, [answer], settings.takes_best(click), keep_low_res=True)
        predicted = predictions(answer).cpu()
        if low_res is None:
            low_res = torch.zeros(len(asked), *predicted.low_res_logits.shape[1:])
        logits[rows], low_res[rows] = predicted.mask_logits.float(), predicted.low_res_logits.float()
        scores[rows] = predicted.iou_scores.float()
        for row in active:
            ious[row, click - 1 :] = clickers[row].iou(logits[row].numpy() > 0)
        active = [row for row in active if settings.stop_at is None or ious[row, click - 1] < settings.stop_at]
    sample.prompts = _history(clickers, asked, sample)
    fields = dict(target_ids=asked.target_ids, draw_ids=asked.draw_ids, mode_ids=asked.mode_ids)
    on_cpu: dict[str, Any] = {name: ids.cpu() for name, ids in fields.items()}
    write_prediction(sample, logits, scores, click_ious=torch.from_numpy(ious), **on_cpu)
    return sample


def _clickers(sample: SegDataSample, settings: ClickSettings) -> list[Clicker]:
    """A simulated user for each prompt of a sample."""
    targets = target_masks(sample).cpu()  # (T, H0, W0)
    ignored = ignored_pixels(sample, targets)
    ignored = None if ignored is None else ignored.numpy()
    clickers = []
    asked = sample_prompts(sample)
    for target, draw in zip(asked.target_ids.tolist(), asked.draw_ids.tolist(), strict=True):
        rng = None if settings.seed is None else prompt_rng(settings.seed, sample, target, draw, STREAM)
        try:
            clickers.append(Clicker(targets[target].numpy(), ignored, rng))
        except ValueError as error:
            raise ValueError(f'{sample_name(sample)}: target {target}: {error}') from error
    return clickers


def _prompts(
    clickers: Sequence[Clicker], masks: Tensor | None, sample: SegDataSample, last: int | None = None
) -> Prompts:
    """The (last) clicks so far, in pixels of the network input, all of one number; mask prompts are (P, 1, 4h, 4w)."""
    name = sample_name(sample)
    clicks = [clicker.clicks if last is None else clicker.clicks[-last:] for clicker in clickers]
    prompts = Prompts.create(
        points=np.array([[click[:2] for click in mine] for mine in clicks], np.float32),
        point_labels=np.array([[int(click.positive) for click in mine] for mine in clicks]),
        masks=masks,
        sample=name,
    )
    return rescale(prompts, sample.metainfo['ori_shape'][:2], sample.metainfo['img_shape'][:2], name)


def _history(clickers: Sequence[Clicker], asked: Prompts, sample: SegDataSample) -> Prompts:
    """Return all clicks on all objects as one set of prompts."""
    longest = max(len(clicker.clicks) for clicker in clickers)
    points = np.zeros((len(clickers), longest, 2), np.float32)
    labels = np.full((len(clickers), longest), -1)
    for row, clicker in enumerate(clickers):
        for place, click in enumerate(clicker.clicks):
            points[row, place], labels[row, place] = click[:2], int(click.positive)
    name = sample_name(sample)
    prompts = Prompts.create(
        points=points,
        point_labels=labels,
        target_ids=asked.target_ids.cpu(),
        draw_ids=asked.draw_ids.cpu(),
        mode_ids=asked.mode_ids.cpu(),
        modes=asked.modes,
        sample=name,
    )
    return rescale(prompts, sample.metainfo['ori_shape'][:2], sample.metainfo['img_shape'][:2], name)
