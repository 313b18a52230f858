from .anomaly_scores import (
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
from .boundary import boundary_iou, mask_boundary
from .clicker import Click, Clicker, number_of_clicks
from .e_measure import EMeasureScores, LevelHistograms, e_measure, level_histograms, mean_absolute_error
from .mask_iou import mask_area, mask_iou
from .stability import stability
from .thin_structures import boundary_f1, cl_dice

__all__ = [
    'BINS',
    'Click',
    'Clicker',
    'EMeasureScores',
    'LevelHistograms',
    'aupro',
    'auroc',
    'average_precision',
    'boundary_f1',
    'bin_scores',
    'boundary_iou',
    'cl_dice',
    'e_measure',
    'f1_max',
    'false_alarm_rate',
    'level_histograms',
    'mask_area',
    'mask_boundary',
    'mask_iou',
    'mean_absolute_error',
    'number_of_clicks',
    'region_histogram',
    'rescale_histograms',
    'score_bins',
    'score_histogram',
    'stability',
]
