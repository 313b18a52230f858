from .anomaly_metric import AnomalyMetric
from .coco_mask_ap import CocoMaskAP
from .dice_iou import DiceIoU
from .e_measure import EMeasure
from .iou_calibration_metric import IoUCalibrationMetric
from .label_map_writer import LabelMapWriter
from .mae import MAE
from .noc_metric import NoCMetric
from .prompt_iou_metric import PromptIoUMetric
from .stability_metric import StabilityMetric

__all__ = [
    'MAE',
    'AnomalyMetric',
    'CocoMaskAP',
    'DiceIoU',
    'EMeasure',
    'IoUCalibrationMetric',
    'LabelMapWriter',
    'NoCMetric',
    'PromptIoUMetric',
    'StabilityMetric',
]
