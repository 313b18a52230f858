"""Interactive training as in SAM: predict, correct the error with a point, predict again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, PromptBatch, PromptKind
from mmsam_ext.structures.samples import pixel_data, sample_name

from .mask_selection import select_masks
from .prompt_targets import prompt_targets
from .promptable_segmentor import PromptableSegmentor


@MODELS.register_module()
class InteractiveSegmentor(PromptableSegmentor):
    """Train a promptable segmentor in interactive rounds.

    The first round uses the prompts of the data pipeline. In each further round every prompt gets one more point, drawn
    uniformly from the error region of its last mask and labelled by the target there, and the logits of that mask as a
    mask prompt. The image is encoded once. Losses are means over rounds.

    Paper: Segment Anything, appendix A, "Training algorithm".

    Args:
        args: As for :class:`PromptableSegmentor`.
        rounds: Number of rounds, 1 or more; SAM uses 11. A pair (least, most) draws a number for each batch, n with a
            chance proportional to 1 / n, so that many rounds are trained at a small mean cost: 2.9 rounds for (1, 8).
            In distributed training `least` should be 2: in one round the layers of mask prompts get no gradient.
        corrected: Share of each image's prompts, in (0, 1], drawn at random, that take part in the rounds after the
            first. The decoder's cost in training grows with it, and with `rounds`.
        scene_head: Config of a :class:`SceneHead`, for training from scratch; the samples then need `gt_part_map`.
        kwargs: As for :class:`PromptableSegmentor`.

    Raises:
        ValueError: `rounds` or `corrected` is out of its range, or there is a part that the rounds do not train.

    Example::

        model = dict(type='InteractiveSegmentor', rounds=(1, 8), corrected=0.5)
    """

    def __init__(
        self,
        *args: Any,
        rounds: int | Sequence[int] = 3,
        corrected: float = 1.0,
        scene_head: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        limits = (rounds, rounds) if isinstance(rounds, int) else tuple(rounds)
        if len(limits) != 2 or not 1 <= limits[0] <= limits[1]:
            raise ValueError(
                f'InteractiveSegmentor: rounds={rounds}, expected 1 or more, or (least, most) with 1 <= least <= most'
            )
        if not 0 < corrected <= 1:
            raise ValueError(f'InteractiveSegmentor: corrected={corrected}, expected a share in (0, 1]')
        for name in ('presence_head', 'mask_refiner'):
            if getattr(self, name) is not None:
                raise ValueError(
                    f'InteractiveSegmentor: {name} is set, but the rounds do not train it; train it with a '
                    'PromptableSegmentor'
                )
        self.rounds, self.corrected, self._limits = rounds, corrected, limits
        self.scene_head = None if scene_head is None else MODELS.build(scene_head)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute losses as :meth:`PromptableSegmentor.loss` does, averaged over rounds.

        Drafts and auxiliary heads are not trained.
        """
        features = self.encode(inputs, data_samples)
        batch = self.prompt_batch(data_samples, inputs)
        losses: list[dict[str, Tensor]] = []
        rounds = _number_of_rounds(*self._limits)
        for index in range(rounds):
            prediction = self.decode(features, batch)
            if not losses:
                targets, ignored = prompt_targets(
                    data_samples, batch, prediction.logits.shape[-2:], self.num_classes or 1
                )
            losses.append(self.mask_losses(prediction, targets, ignored))
            if index + 1 < rounds:
                if not index and self.corrected < 1:
                    rows, numbers = _random_share(batch, self.corrected)
                    batch = batch.select(rows, numbers)
                    prediction = MaskPrediction(prediction.logits[rows], prediction.iou[rows])
                    targets, ignored = targets[rows], ignored[rows]
                batch = _corrected(batch, prediction, targets, ignored)
        means = {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}
        if self.scene_head is not None:
            scene = self.scene_head.loss(features.embedding, inputs, _part_maps(data_samples))
            means.update({f'scene.{name}': value for name, value in scene.items()})
        return means


def _number_of_rounds(least: int, most: int) -> int:
    """Draw a number n from `least` to `most` with a chance proportional to 1 / n, or return them where equal."""
    if least == most:
        return least
    return least + int(torch.multinomial(1 / torch.arange(least, most + 1), 1))


@torch.no_grad()
def _corrected(batch: PromptBatch, prediction: MaskPrediction, targets: Tensor, ignored: Tensor) -> PromptBatch:
    """Return the prompts of the next round: one more point each, and the last mask as a mask prompt.

    Args:
        batch: P prompts.
        prediction: logits (P, M, h, w), iou (P, M).
        targets: (P, h, w) in [0, 1].
        ignored: (P, h, w) bool, pixels without a label.
    """
    logits, _ = select_masks(prediction, batch, 'ambiguous')
    last = logits.float()  # (P, h, w)
    points, labels = error_points((last > 0) & ~ignored, targets > 0.5)  # no point where the label is unknown
    width = batch.input_size[1]
    points = (points + 0.5) * (width / last.shape[-1]) - 0.5  # cells of the logits -> pixels of the input
    used = batch.uses(PromptKind.POINTS)[:, None]
    return replace(
        batch,
        points=torch.cat([batch.points, points[:, None]], 1),
        point_labels=torch.cat([torch.where(used, batch.point_labels, -1), labels[:, None]], 1),
        masks=last[:, None],
        kinds=batch.kinds | int(PromptKind.POINTS | PromptKind.MASK),
    )


def _part_maps(data_samples: list[SegDataSample]) -> Tensor:
    """Return the labels (B, H, W) of all samples."""
    for sample in data_samples:
        if 'gt_part_map' not in sample:
            raise ValueError(
                f'{sample_name(sample)}: no `gt_part_map`, which a scene_head learns from; SyntheticObjectsDataset '
                'provides it'
            )
    return torch.cat([pixel_data(sample, 'gt_part_map') for sample in data_samples])


def _random_share(batch: PromptBatch, share: float) -> tuple[Tensor, list[int]]:
    """Draw a share of the prompts of each image, at least one -> their places in the batch, and how many per image."""
    drawn, start = [], 0
    for number in batch.numbers:
        rows = torch.randperm(number)[: max(1, round(share * number))].sort().values
        drawn.append(start + rows)
        start += number
    return torch.cat(drawn).to(batch.kinds.device), [len(rows) for rows in drawn]


def error_points(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one point from each error region, uniformly at random.

    Without an error it is drawn from the target; without a target either, from the whole map.

    Args:
        predicted: (P, h, w) bool, the predicted masks.
        true: (P, h, w) bool, the target masks.

    Returns:
        points (P, 2) float (x, y) in cells, labels (P,) int64: 1 where the point belongs to the target, else 0.
    """
    wrong, target = (predicted != true).flatten(1), true.flatten(1)
    region = torch.where(wrong.any(1, keepdim=True), wrong, target)
    region = region | ~region.any(1, keepdim=True)
    drawn = torch.multinomial(region.float(), 1)  # (P, 1)
    labels = target.gather(1, drawn)[:, 0].long()
    drawn = drawn[:, 0]
    width = true.shape[-1]
    return torch.stack([drawn % width, drawn // width], 1).float(), labels
