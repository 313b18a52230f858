from .metrics import MAE, AnomalyMetric, CocoMaskAP, DiceIoU, EMeasure, NoCMetric, PromptIoUMetric, StabilityMetric

__all__ = [
    'MAE',
    'AnomalyMetric',
    'CocoMaskAP',
    'DiceIoU',
    'EMeasure',
    'NoCMetric',
    'PromptIoUMetric',
    'StabilityMetric',
]
