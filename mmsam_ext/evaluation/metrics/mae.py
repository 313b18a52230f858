"""`MAE`: mean absolute error of the predicted foreground map."""

from __future__ import annotations

from mmseg.registry import METRICS
from torch import Tensor

from ..functional import level_histograms, mean_absolute_error
from .foreground import ForegroundMetric


@METRICS.register_module()
class MAE(ForegroundMetric):
    """Compute the mean of |map - target| over the pixels of an image, from 0 to 1, equal to pysodmetrics.

    The key is ``MAE`` (ODS-SAM, Table 1).

    Args:
        normalize: Stretch every map to its own smallest and largest of 256 levels, as the saliency toolboxes do.
        kwargs: See :class:`ForegroundMetric`.
    """

    names = ('MAE',)

    def __init__(self, normalize: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.normalize = normalize

    def measure(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the error, (1,)."""
        return mean_absolute_error(level_histograms(logits.sigmoid(), target, self.normalize))[None]

    def summarize(self, means: Tensor) -> dict[str, float]:
        """See :class:`ForegroundMetric`."""
        return dict(MAE=float(means[0]))
