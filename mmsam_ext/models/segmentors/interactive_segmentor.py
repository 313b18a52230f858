"""SAM's own way of training: prompt, look at the error, prompt again."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import MaskPrediction, PromptKind, Prompts

from ..data_preprocessors import sample_name
from .prompt_targets import prompt_targets
from .promptable_segmentor import PromptableSegmentor, is_one_point


@MODELS.register_module()
class InteractiveSegmentor(PromptableSegmentor):
    """A promptable segmentor trained in interactive rounds (SAM, appendix A, "Training algorithm").

    The first round takes the prompts of the data pipeline. In each further one every prompt gets one more point, drawn
    uniformly from the error region of its last mask, labelled by what the point should be, and that mask's logits as a
    mask prompt. The image is encoded once. Losses are means over rounds.

    Args:
        rounds: 1 or more; SAM's are 11, on hardware that has them.
        corrected: Share of each image's prompts, in (0, 1], drawn at random, that the rounds after the first go on
            with: the decoder's cost in training grows with it, and with `rounds`.
        scene_head: Config of a :class:`SceneHead`, for training from scratch; the samples then need `gt_part_map`.
        kwargs: As :class:`PromptableSegmentor`.
    """

    def __init__(
        self, *args, rounds: int = 3, corrected: float = 1.0, scene_head: dict | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        if rounds < 1:
            raise ValueError(f'InteractiveSegmentor: rounds={rounds}, expected 1 or more')
        if not 0 < corrected <= 1:
            raise ValueError(f'InteractiveSegmentor: corrected={corrected}, expected a share in (0, 1]')
        self.rounds, self.corrected = rounds, corrected
        self.scene_head = None if scene_head is None else MODELS.build(scene_head)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """As :meth:`PromptableSegmentor.loss`, averaged over rounds; drafts and auxiliary heads take no part."""
        features = self.extract_feat(inputs)
        prompts = [sample.prompts for sample in data_samples]
        losses: list[dict[str, Tensor]] = []
        for index in range(self.rounds):
            prediction = self.decode(features, prompts, inputs.shape[-2:])
            if not losses:
                targets, ignored = prompt_targets(data_samples, prompts, prediction.logits.shape[-2:])
            losses.append(self.mask_losses(prediction, targets, ignored))
            if index + 1 < self.rounds:
                if not index and self.corrected < 1:
                    rows, prompts = _some(prompts, self.corrected)
                    prediction = MaskPrediction(prediction.logits[rows], prediction.iou[rows])
                    targets, ignored = targets[rows], ignored[rows]
                prompts = self._corrected(prompts, prediction, targets, ignored, inputs.shape[-1])
        means = {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}
        if self.scene_head is not None:
            scene = self.scene_head.loss(features.embedding, inputs, _part_maps(data_samples))
            means.update({f'scene.{name}': value for name, value in scene.items()})
        return means

    @torch.no_grad()
    def _corrected(
        self, prompts: list[Prompts], prediction: MaskPrediction, targets: Tensor, ignored: Tensor, width: int
    ) -> list[Prompts]:
        """The prompts of the next round; `width` is that of the network input in pixels."""
        rows = torch.arange(len(targets), device=targets.device)
        one_point = torch.cat([is_one_point(p) for p in prompts])
        several = prediction.iou[:, 1:].argmax(1) + 1
        last = prediction.logits[rows, torch.where(one_point, several, 0)].float()  # (P, h, w)
        points, labels = error_points((last > 0) & ~ignored, targets > 0.5)  # no point where nobody knows the label
        points = (points + 0.5) * (width / last.shape[-1]) - 0.5  # cells of the logits -> pixels of the input
        corrected, start = [], 0
        for p in prompts:
            part = slice(start, start := start + len(p))
            used = p.uses(PromptKind.POINTS)[:, None]
            corrected.append(
                Prompts.create(
                    points=torch.cat([p.points, points[part, None]], 1),
                    point_labels=torch.cat([torch.where(used, p.point_labels, -1), labels[part, None]], 1),
                    boxes=p.boxes,
                    masks=last[part, None],
                    kinds=p.kinds | int(PromptKind.POINTS | PromptKind.MASK),
                    target_ids=p.target_ids,
                    draw_ids=p.draw_ids,
                    mode_ids=p.mode_ids,
                    modes=p.modes,
                )
            )
        return corrected


def _part_maps(data_samples: list[SegDataSample]) -> Tensor:
    """(B, H, W) labels."""
    for sample in data_samples:
        if 'gt_part_map' not in sample:
            raise ValueError(
                f'{sample_name(sample)}: no `gt_part_map`, which a scene_head learns from '
                '(SyntheticObjectsDataset has it)'
            )
    return torch.cat([sample.gt_part_map.data for sample in data_samples])


def _some(prompts: list[Prompts], share: float) -> tuple[Tensor, list[Prompts]]:
    """A random share of the prompts of each image, at least one: their rows among all prompts, and themselves."""
    rows, kept, start = [], [], 0
    for p in prompts:
        drawn = torch.randperm(len(p))[: max(1, round(share * len(p)))].sort().values.to(p.kinds.device)
        rows.append(start + drawn)
        kept.append(p[drawn])
        start += len(p)
    return torch.cat(rows), kept


def error_points(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """One point of each error region, uniformly at random; of the target where there is no error, of the map where
    there is no target either.

    Args:
        predicted, true: (P, h, w) bool.

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
