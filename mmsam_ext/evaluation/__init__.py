from .metrics import PromptIoUMetric, StabilityMetric

__all__ = ['PromptIoUMetric', 'StabilityMetric']
