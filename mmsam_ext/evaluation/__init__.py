from .metrics import (
    MAE,
    AnomalyMetric,
    CocoMaskAP,
    DiceIoU,
    EMeasure,
    IoUCalibrationMetric,
    NoCMetric,
    PromptIoUMetric,
    StabilityMetric,
)

__all__ = [
    'MAE',
    'AnomalyMetric',
    'CocoMaskAP',
    'DiceIoU',
    'EMeasure',
    'IoUCalibrationMetric',
    'NoCMetric',
    'PromptIoUMetric',
    'StabilityMetric',
]
