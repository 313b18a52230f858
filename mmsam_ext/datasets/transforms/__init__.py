from .generate_prompts import GeneratePrompts, PromptMode
from .pack_prompt_inputs import PackPromptInputs
from .perturb_prompts import PerturbPrompts, box_iou, box_of_iou, noisy_box
from .synthesize_occlusion import SynthesizeOcclusion

__all__ = [
    'GeneratePrompts',
    'PackPromptInputs',
    'PerturbPrompts',
    'PromptMode',
    'SynthesizeOcclusion',
    'box_iou',
    'box_of_iou',
    'noisy_box',
]
