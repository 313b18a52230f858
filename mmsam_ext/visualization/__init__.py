from .contact_sheet import contact_sheet
from .prompt_visualizer import PromptVisualizer

__all__ = ['PromptVisualizer', 'contact_sheet']
