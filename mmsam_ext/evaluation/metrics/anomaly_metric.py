"""`AnomalyMetric`: AUROC, average precision, best F1 and AUPRO, of pixels and of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmsam_ext.structures.samples import ignored_pixels, sample_name

from ..functional import (
    BINS,
    aupro,
    auroc,
    average_precision,
    bin_scores,
    f1_max,
    false_alarm_rate,
    region_histogram,
    rescale_histograms,
    score_bins,
    score_histogram,
)
from .foreground import check_grouping, foreground_logits, foreground_target, group_name, report

#: Key of the share of normal images that are taken for defective.
FALSE_ALARMS = 'image_false_alarms'


def _histogram() -> Tensor:
    return torch.zeros(BINS, dtype=torch.float64)


@dataclass
class GroupScores:
    """Hold sums over the images of a group: five histograms, 2.5 MB for any number of images.

    Attributes:
        pixels: Histograms of the scores of pixels, (normal, defect).
        images: Histograms of the scores of images, (normal, defect).
        regions: See :func:`region_histogram`.
        number_regions: Number of defect regions.
        number: Number of images.
    """

    pixels: tuple[Tensor, Tensor] = field(default_factory=lambda: (_histogram(), _histogram()))
    images: tuple[Tensor, Tensor] = field(default_factory=lambda: (_histogram(), _histogram()))
    regions: Tensor = field(default_factory=_histogram)
    number_regions: int = 0
    number: int = 0

    def add(self, bins: Tensor, target: Tensor, ignored: Tensor | None = None, score: Tensor | None = None) -> None:
        """Count an image. Its own score is that of its highest pixel that counts, without such a pixel it has none.

        Args:
            bins: (H, W) bins of its scores.
            target: (H, W) bool.
            ignored: (H, W) bool, the pixels that do not count; None if all count.
            score: The bin of the image's score, in place of that of its highest pixel.
        """
        counted = torch.ones_like(target) if ignored is None else ~ignored
        for label, histogram in enumerate(self.pixels):
            histogram += score_histogram(bins[counted & (target == bool(label))]).cpu()
        if counted.any():
            self.images[int(target.any())][int(bins[counted].max() if score is None else score)] += 1
        if target.any():
            regions, number = region_histogram(bins, target)
            self.regions += regions.cpu()
            self.number_regions += number
        self.number += 1

    def merge(self, other: GroupScores) -> None:
        """Add the sums of another rank."""
        for mine, theirs in zip((*self.pixels, *self.images), (*other.pixels, *other.images), strict=True):
            mine += theirs
        self.regions += other.regions
        self.number_regions += other.number_regions
        self.number += other.number

    def min_max(self) -> GroupScores:
        """Return the sums of the scores after min-max normalisation over all pixels counted."""
        counted = (self.pixels[0] + self.pixels[1]).nonzero()[:, 0]
        if not len(counted):
            return self
        low, high = bin_scores()[counted[[0, -1]]].tolist()
        normal, defect, normal_images, defect_images, regions = rescale_histograms(
            (*self.pixels, *self.images, self.regions), low, high
        )
        return GroupScores((normal, defect), (normal_images, defect_images), regions, self.number_regions, self.number)

    def values(self, limit: float, recall: float | None = None) -> dict[str, float]:
        """Return percent by name, without undefined scores."""
        values = {}
        for level, (normal, defect) in (('pixel', self.pixels), ('image', self.images)):
            values[f'{level}_AUROC'] = auroc(defect, normal)
            values[f'{level}_AP'] = average_precision(defect, normal)
            values[f'{level}_F1Max'] = f1_max(defect, normal)
        if recall is not None:
            values[FALSE_ALARMS] = false_alarm_rate(self.images[1], self.images[0], recall)
        values['AUPRO'] = aupro(self.regions, self.number_regions, self.pixels[0], limit)
        return {name: 100 * float(value) for name, value in values.items() if value is not None}


@METRICS.register_module()
class AnomalyMetric(BaseMetric):
    """Compute scores of anomaly detection in percent, over all pixels and images of a group, averaged over groups.

    The keys are ``pixel_AUROC``, ``pixel_AP``, ``pixel_F1Max``, the same with ``image_``, and ``AUPRO``, and with
    several groups also ``<group>/...``. AUROC is undefined without defects or without normal pixels (images), AP and
    F1Max without defects, AUPRO without either; an undefined score has no key and logs a warning. The score of an image
    is that of its highest pixel, or that of the model's presence head (`image_score`). With `recall` there is also
    ``image_false_alarms``, the share of normal images whose score reaches the threshold that finds this share of the
    defective ones.

    Scores of images require images without a defect, which the benchmark datasets leave out by default: load them with
    ``normal=True``, an argument of ``MVTecADDataset`` and the other benchmarks. Without such images there is no
    ``image_AUROC``, and ``image_AP`` is 100.

    Ignored pixels (255) do not count, and regions do not extend into them.

    Memory is bounded: scores (logits) are counted in histograms over all 65,536 fp16 numbers, 2.5 MB per group. Scores
    that differ in fp16 are ranked exactly.

    Args:
        limit: Largest false positive rate of AUPRO.
        size: (H, W) to which score maps (cubic) and masks (nearest) are resized first, as (400, 400) in SAA+; None
            keeps their size.
        min_max: Normalise scores to [0, 1] by the smallest and the largest of each category (`defect_class` up to its
            first '/') before the categories of a group are combined, as in SAA+. A single category is not affected.
        image_score: 'pixel', the highest pixel, or 'presence', the highest of the presence head's scores of the image's
            prompts.
        recall: Share of the defective images that ``image_false_alarms`` is measured at, as 0.95; None: no such key.
        by: See :class:`ForegroundMetric`.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.

    Raises:
        ValueError: `limit` or `recall` is not in (0, 1], or `image_score` is unknown or does not go with `min_max`; in
            :meth:`process`, a sample has no presence score.
    """

    names = (
        *(f'{level}_{score}' for level in ('pixel', 'image') for score in ('AUROC', 'AP', 'F1Max')),
        'AUPRO',
    )

    def __init__(
        self,
        limit: float = 0.3,
        size: tuple[int, int] | None = None,
        min_max: bool = False,
        image_score: str = 'pixel',
        recall: float | None = None,
        by: str = 'dataset',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < limit <= 1:
            raise ValueError(f'AnomalyMetric: limit={limit}, expected a number in (0, 1]')
        if recall is not None and not 0 < recall <= 1:
            raise ValueError(f'AnomalyMetric: recall={recall}, expected a number in (0, 1], or None')
        if image_score not in ('pixel', 'presence') or (min_max and image_score == 'presence'):
            raise ValueError(
                f"AnomalyMetric: image_score={image_score!r}, min_max={min_max}, expected 'pixel', or 'presence' "
                'without min_max, which rescales pixels'
            )
        self.image_score, self.recall = image_score, recall
        if recall is not None:
            self.names = (*self.names, FALSE_ALARMS)
        self.limit, self.size, self.min_max = limit, size and tuple(size), min_max
        self.by = check_grouping(type(self).__name__, by)
        self._groups: dict[tuple[str, str], GroupScores] = {}
        self._seen = 0
        self._last: tuple[tuple[str, str], Tensor, Tensor, Tensor | None, Tensor | None] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Count images, but hold the last one back: a sampler may have repeated it to give all ranks equally many."""
        for sample in data_samples:
            logits = foreground_logits(sample)
            self._count_last()
            target, ignored = foreground_target(sample, logits), ignored_pixels(sample, logits)
            logits, target, ignored = self._resized(logits, target, ignored)
            key = group_name(sample, self.by), group_name(sample, 'category') if self.min_max else ''
            self._last = (key, score_bins(logits), target, ignored, self._score_of(sample))
            self._seen += 1

    def _score_of(self, sample: Mapping[str, Any]) -> Tensor | None:
        """Return the bin of an image's presence score; None if its score is that of its highest pixel."""
        if self.image_score == 'pixel':
            return None
        if 'presence' not in sample.get('pred_instances', {}):
            raise ValueError(
                f"{sample_name(sample)}: no `pred_instances.presence`, which image_score='presence' reads; add a "
                'presence_head to the model'
            )
        return score_bins(sample['pred_instances']['presence'].amax().float())

    def _resized(self, logits: Tensor, target: Tensor, ignored: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The map (H, W), its target and its ignored pixels at the size that scores are taken at."""
        if self.size is None:
            return logits, target, ignored

        def nearest(mask: Tensor) -> Tensor:
            return F.interpolate(mask[None, None].float(), self.size, mode='nearest')[0, 0] > 0

        logits = F.interpolate(logits[None, None], self.size, mode='bicubic', align_corners=False)[0, 0]
        return logits, nearest(target), None if ignored is None else nearest(ignored)

    def _count_last(self) -> None:
        if self._last is not None:
            group, bins, target, ignored, score = self._last
            self._groups.setdefault(group, GroupScores()).add(bins, target, ignored, score)
            self._last = None

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over ranks and compute the scores.

        Args:
            size: Number of images of the dataset; an image beyond a rank's share of them is a repetition.
        """
        world, rank = get_world_size(), get_rank()
        if self._seen <= len(range(rank, size, world)):
            self._count_last()
        self.results = [self._groups]
        self._groups, self._seen, self._last = {}, 0, None
        return super().evaluate(world)

    def compute_metrics(self, results: Sequence[dict[tuple[str, str], GroupScores]]) -> dict[str, float]:
        """Merge the sums of all ranks and log a table; the keys are those of :func:`report`."""
        by_category: dict[tuple[str, str], GroupScores] = {}
        for groups in results:
            for key, scores in groups.items():
                by_category.setdefault(key, GroupScores()).merge(scores)
        merged: dict[str, GroupScores] = {}
        for (group, _), scores in by_category.items():
            merged.setdefault(group, GroupScores()).merge(scores.min_max() if self.min_max else scores)
        by_group = {group: (scores.number, scores.values(self.limit, self.recall)) for group, scores in merged.items()}
        return report('AnomalyMetric', self.names, by_group)
