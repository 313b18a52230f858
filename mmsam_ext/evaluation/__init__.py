from .metrics import MAE, AnomalyMetric, DiceIoU, EMeasure, NoCMetric, PromptIoUMetric, StabilityMetric

__all__ = ['MAE', 'AnomalyMetric', 'DiceIoU', 'EMeasure', 'NoCMetric', 'PromptIoUMetric', 'StabilityMetric']
