from .prompt_iou_metric import PromptIoUMetric
from .stability_metric import StabilityMetric

__all__ = ['PromptIoUMetric', 'StabilityMetric']
