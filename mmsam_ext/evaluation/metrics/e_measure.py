"""E-measure of the predicted foreground map."""

from __future__ import annotations

import torch
from mmseg.registry import METRICS
from torch import Tensor

from ..functional import e_measure, level_histograms
from .foreground import ForegroundMetric


@METRICS.register_module()
class EMeasure(ForegroundMetric):
    """Mean, largest and adaptive E-measure (Fan et al., IJCAI 2018; ODS-SAM, Table 1), from 0 to 1, as pysodmetrics.

    Keys: ``mE`` (mean over 256 thresholds), ``maxE`` (largest of the curve averaged over a group's images), ``adpE``
    (at twice the mean of the map), and ``<group>/mE`` and so on where there are several groups. Images without any
    foreground count, as there: they score the share of pixels that are not predicted.

    Args:
        normalize: Stretch every map to its own smallest and largest level, as in the toolboxes.
        by, collect_device, prefix: See :class:`ForegroundMetric`. Every image keeps 257 numbers (2 KB).
    """

    names = ('mE', 'maxE', 'adpE')

    def __init__(self, normalize: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize

    def measure(self, logits: Tensor, target: Tensor) -> Tensor:
        """The curve and the adaptive value, (257,)."""
        scores = e_measure(level_histograms(logits.sigmoid(), target, self.normalize))
        return torch.cat([scores.curve, scores.adaptive[None]])

    def summarize(self, means: Tensor) -> dict[str, float]:
        """See :class:`ForegroundMetric`."""
        return dict(mE=float(means[:-1].mean()), maxE=float(means[:-1].max()), adpE=float(means[-1]))
