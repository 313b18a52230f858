"""`EMeasure`: E-measure of the predicted foreground map."""

from __future__ import annotations

import torch
from mmseg.registry import METRICS
from torch import Tensor

from ..functional import e_measure, level_histograms
from .foreground import ForegroundMetric


@METRICS.register_module()
class EMeasure(ForegroundMetric):
    """Compute the mean, largest and adaptive E-measure, from 0 to 1, equal to pysodmetrics.

    The keys are ``mE`` (mean over 256 thresholds), ``maxE`` (maximum of the curve averaged over a group's images),
    ``adpE`` (at twice the mean of the map), and with several groups ``<group>/mE`` and so on. Images without foreground
    count as in pysodmetrics: their score is the share of pixels that are not predicted. Each image keeps 257 numbers
    (2 KB).

    Paper: Enhanced-alignment Measure for Binary Foreground Map Evaluation (arXiv 1805.10421); ODS-SAM, Table 1.

    Args:
        normalize: Stretch every map to its own smallest and largest level, as the saliency toolboxes do.
        kwargs: See :class:`ForegroundMetric`.
    """

    names = ('mE', 'maxE', 'adpE')

    def __init__(self, normalize: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize

    def measure(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the curve and the adaptive value, (257,)."""
        scores = e_measure(level_histograms(logits.sigmoid(), target, self.normalize))
        return torch.cat([scores.curve, scores.adaptive[None]])

    def summarize(self, means: Tensor) -> dict[str, float]:
        """See :class:`ForegroundMetric`."""
        return dict(mE=float(means[:-1].mean()), maxE=float(means[:-1].max()), adpE=float(means[-1]))
