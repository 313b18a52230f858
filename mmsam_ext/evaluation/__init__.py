from .metrics import MAE, AnomalyMetric, DiceIoU, EMeasure, PromptIoUMetric, StabilityMetric

__all__ = ['MAE', 'AnomalyMetric', 'DiceIoU', 'EMeasure', 'PromptIoUMetric', 'StabilityMetric']
